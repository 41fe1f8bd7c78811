//! A recipe for images of one's own: network, image size, batch, epochs and splits by what the images are.
//!
//! A few images' headers and all labels are looked at ([`survey`]), then plain rules choose
//! (`rules.rs`). The result is a [`Recipe`] like any other, with a reason for every choice; a run keeps it in its folder.
//!
//! ```no_run
//! use mlaan::auto_recipe::{Wishes, auto_recipe};
//!
//! # fn main() -> mlaan::Result<()> {
//! let auto = auto_recipe("photos", &Wishes::default())?;
//! for choice in &auto.choices {
//!     println!("{}: {} ({})", choice.what, choice.value, choice.why);
//! }
//! # Ok(())
//! # }
//! ```

mod rules;
mod weights;
mod wishes;

pub use rules::{Choice, SCARCE, TEST};
pub use wishes::Wishes;

use crate::data::{Survey, survey};
use crate::recipe::Recipe;
use crate::{Error, Result};
use rules::Rules;
use weights::Weights;

/// A recipe for a set of images.
#[derive(Clone, Debug)]
pub struct AutoRecipe {
    /// The recipe.
    pub recipe: Recipe,
    /// What was chosen, and why.
    pub choices: Vec<Choice>,
    /// What the images are.
    pub survey: Survey,
}

/// Chooses a recipe for the images at `source`.
///
/// # Errors
/// What is no set of images; weights that cannot be read or are of an unknown network.
pub fn auto_recipe(source: &str, wishes: &Wishes) -> Result<AutoRecipe> {
    auto_recipe_of(survey(source, &wishes.open())?, source, wishes)
}

/// As [`auto_recipe`], for images that were looked at already; recipes call them `source`.
///
/// # Errors
/// As [`auto_recipe`].
pub fn auto_recipe_of(survey: Survey, source: &str, wishes: &Wishes) -> Result<AutoRecipe> {
    if survey.images() == 0 {
        return Err(Error::data(source, "there is no training image"));
    }
    let weights =
        wishes.init.as_ref().map(|from| Weights::read(from, wishes.init_key.as_deref())).transpose()?;
    let rules = Rules { survey: &survey, wishes, weights: weights.as_ref() };
    let (parts, choices) = rules.choose();
    let keys: Vec<&str> = choices.iter().flat_map(|c| &c.keys).map(String::as_str).collect();
    let mut recipe = Recipe::compose(&parts.iter().map(String::as_str).collect::<Vec<_>>(), &keys)?;
    if let Some(weights) = weights {
        weights.lay_over(&mut recipe);
        recipe.model.init_key.clone_from(&wishes.init_key);
    }
    recipe.set_source(source);
    recipe.description = recipe.method_and_network().to_owned();
    recipe.validate()?;
    Ok(AutoRecipe { recipe, choices, survey })
}
