//! What a comparison says, in sentences made of its numbers.

use super::outcome::{CellOutcome, Comparison};
use super::statistics::Paired;
use super::suite::Measure;
use crate::recipe::Recipe;

/// Probability below which a difference counts as found, after the correction for several tests.
const FOUND: f64 = 0.05;

impl Comparison {
    /// A sentence for every cell that was tested against another: how far apart, at which cost, and whether so many seeds can tell.
    pub fn summary(&self) -> Vec<String> {
        if self.measure == Measure::Memory {
            return Vec::new();
        }
        let against = self.against.as_ref().map_or("", |name| self.title_of(name));
        let said = |c: &CellOutcome| Some(self.sentence(c, c.test?, against));
        self.cells.iter().filter_map(said).collect()
    }

    fn sentence(&self, cell: &CellOutcome, test: Paired, against: &str) -> String {
        let name = self.cell_title(cell);
        let (by, sd, seeds) = (tenths(test.difference.abs()), tenths(test.sd), number(test.n));
        // What is shown as 0.0 is neither behind nor ahead.
        let distance = match test.difference {
            d if d.abs() < 0.05 => format!("level with {against} (0.0 ± {sd:.1} points apart)"),
            d if d > 0.0 => format!("{by:.1} ± {sd:.1} points behind {against}"),
            _ => format!("{by:.1} ± {sd:.1} points ahead of {against}"),
        };
        let time =
            cell.to_plain.seconds.map_or_else(String::new, |times| format!(" and {times:.2}x its time"));
        let cost = format!("at {:.2}x its tensor memory{time}", cell.to_plain.memory);
        let told = match test.p_holm.or(test.p) {
            Some(p) if p < FOUND => format!("{seeds} seeds tell them apart ({})", probability(p)),
            Some(p) => format!("{seeds} seeds cannot tell them apart ({})", probability(p)),
            None => format!("the differences of {seeds} seeds are all the same, so there is no test"),
        };
        format!("{name} is {distance} {cost}; {told}.")
    }

    /// What the sentences count.
    pub fn summary_note(&self) -> String {
        "Points of test accuracy: mean ± standard deviation of the differences by seed. Tensor memory: of a training step, as planned, without images, \
         beside backpropagation with the same network and batch. p: two-sided paired t-test, corrected for several (Holm)."
            .into()
    }

    /// What every method is, a line each: its title and what it does.
    pub fn methods(&self) -> Vec<(String, String)> {
        let about = |cell: &CellOutcome| {
            let recipe = Recipe::kept(&cell.recipe, &cell.name).ok()?;
            Some((self.title_of(&cell.row).to_owned(), recipe.local.about()))
        };
        let mut all: Vec<(String, String)> = Vec::new();
        for found in self.cells.iter().filter_map(about) {
            if !all.iter().any(|(title, _)| *title == found.0) {
                all.push(found);
            }
        }
        all
    }

    pub(super) fn title_of<'a>(&'a self, row: &'a str) -> &'a str {
        self.rows.iter().find(|r| r.name == row).map_or(row, |r| r.title.as_str())
    }
}

/// A small number in words.
fn number(n: usize) -> String {
    let words = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
    words.get(n).map_or_else(|| n.to_string(), |word| (*word).to_owned())
}

/// Rounded to a digit, halves away from zero, as people do it.
fn tenths(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

fn probability(p: f64) -> String {
    match p {
        p if p < 0.001 => "p < 0.001".into(),
        p if p < 0.01 => format!("p = {p:.3}"),
        p => format!("p = {p:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn methods_with_the_same_error_are_level() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results/small");
        let found = Comparison::read(&folder).unwrap();
        let cell = found.cells.iter().find(|c| c.test.is_some()).unwrap();
        let said = |difference| {
            found
                .sentence(cell, Paired { difference, ..cell.test.unwrap() }, "BP")
                .split(" at ")
                .next()
                .unwrap()
                .to_owned()
        };
        assert!(said(0.04).contains("is level with BP (0.0 ±") && said(-0.04).contains("is level with BP"));
        assert!(
            said(0.06).contains("is 0.1 ±")
                && said(0.06).ends_with("behind BP")
                && said(-0.06).ends_with("ahead of BP")
        );
        assert!(said(-0.25).contains("is 0.3 ±"), "{}", said(-0.25));
    }

    #[test]
    fn a_comparison_says_how_far_at_which_cost_and_whether_it_can_tell() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results/small");
        let found = Comparison::read(&folder).unwrap();
        let said = found.summary();
        for sentence in [
            "MLAAN (released) is 0.9 ± 0.9 points behind BP at 0.81x its tensor memory and 4.15x its time; three seeds cannot tell them apart (p = 0.41).",
            "DGL is 10.4 ± 0.2 points behind BP at 0.36x its tensor memory and 1.30x its time; three seeds tell them apart (p < 0.001).",
        ] {
            assert!(said.iter().any(|s| s == sentence), "{sentence}: {said:?}");
        }
        // None of BP itself, and what a method is stands once.
        assert_eq!((said.len(), found.methods().len()), (8, 9));
        let about = |title: &str| found.methods().into_iter().find(|(t, _)| t == title).unwrap().1;
        assert!(about("BP").starts_with("Backpropagation") && about("LAM").contains("EMA copies"));
    }
}
