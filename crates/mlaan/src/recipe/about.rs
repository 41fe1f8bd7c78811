//! What a recipe is called, whatever images it is used on.

use super::Recipe;
use super::builtin::{Part, builtin};

impl Recipe {
    /// What it is, without the data set that it was written for: its images may be others.
    pub fn method_and_network(&self) -> &str {
        let mut sets = builtin().iter().filter(|f| f.part == Part::Data).filter_map(|f| {
            let about = f.text.lines().find_map(|line| line.strip_prefix("description = \""))?;
            self.description.strip_suffix(about.strip_suffix('"')?)?.strip_suffix(", ")
        });
        sets.next_back().unwrap_or(&self.description)
    }
}
