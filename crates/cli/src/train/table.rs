//! The table of finished epochs: a header and a line each.

use super::eta::Eta;
use crate::{format, style};
use mlaan::train::metrics::Epoch;

/// What the lines of a run share.
#[derive(Clone)]
pub struct Table {
    epochs: usize,
    best: f64,
}

/// A line of the table, in parts that may look different.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Epoch to training accuracy.
    pub begin: String,
    /// Validation accuracy, or test accuracy where there is no validation set.
    pub test: String,
    /// Whether no epoch before had a higher one.
    pub is_best: bool,
    /// Speed, memory, time.
    pub end: String,
    /// Training accuracy of every module, percent; NaN where a module does not classify.
    accuracies: Vec<f64>,
}

impl Table {
    /// Of a run of so many epochs, whose lowest validation (or test) error so far is `best`.
    pub fn new(epochs: usize, best: f64) -> Self {
        Table { epochs, best }
    }

    /// The line of an epoch, which comes after those that were asked for before.
    pub fn row(&mut self, e: &Epoch) -> Row {
        let held_out = e.held_out_error();
        let is_best = held_out < self.best;
        self.best = self.best.min(held_out);
        let at = format!("{}/{}", e.epoch, self.epochs);
        Row {
            begin: format!(
                "{at:>6}  {:<6}  {:>6}  {:>7}",
                rate(e.lr),
                format::loss(e.train_loss),
                bare(e.train_accuracy)
            ),
            test: format!("{:>6}", bare(e.held_out_accuracy())),
            is_best,
            end: format!(
                "{:>6}  {:>8}  {:>5}",
                format::count(e.images_per_second as usize),
                format::bytes(e.peak().most()),
                format::clock(e.seconds)
            ),
            accuracies: accuracies(&e.module_errors),
        }
    }
}

impl Row {
    /// Accuracies of at most `most` modules: of more, the first and the last few. Empty for a network of one module (backpropagation).
    pub fn modules(&self, most: usize) -> String {
        if self.accuracies.len() < 2 {
            return String::new();
        }
        let one = |i: usize| match self.accuracies.get(i) {
            Some(e) if e.is_finite() => format!("{e:.0}"),
            _ => "–".into(),
        };
        let shown = format::abridged(self.accuracies.len(), most);
        let words: Vec<String> = shown.iter().map(|i| i.map_or_else(|| "…".into(), one)).collect();
        words.join(" ")
    }

    /// The line, for the terminal.
    pub fn line(&self, modules: usize) -> String {
        let mark = if self.is_best { style::green("*") } else { " ".into() };
        let test = if self.is_best { style::bold(&self.test) } else { self.test.clone() };
        let accuracies = self.modules(modules);
        // Of an empty text, styling would leave the two spaces and the escape codes.
        let accuracies =
            if accuracies.is_empty() { accuracies } else { format!("  {}", format::dim(&accuracies)) };
        format!("{}  {test}{mark}  {}{accuracies}", self.begin, self.end)
    }
}

/// Accuracies, where errors are known; percent.
pub fn accuracies(errors: &[f64]) -> Vec<f64> {
    errors.iter().map(|error| 100.0 - error).collect()
}

/// What the columns are.
pub fn header(eta: &Eta) -> String {
    let line = format!(
        "{:>6}  {:<6}  {:>6}  {:>7}  {:>6}   {:>6}  {:>8}  {:>5}  {}",
        "epoch",
        "lr",
        "loss",
        "train %",
        format!("{} %", eta.held),
        "img/s",
        "memory",
        "time",
        if eta.in_modules { "modules %" } else { "" }
    );
    line.trim_end().to_owned()
}

/// What the columns mean that do not say it.
pub fn legend(eta: &Eta) -> String {
    let set = if eta.held == "val" { "validation" } else { eta.held };
    let modules =
        if eta.in_modules { "; modules %: training accuracy of each module's own classifier" } else { "" };
    format!("% is accuracy, on training images and on {set} images (* the best so far){modules}")
}

/// A percentage whose column says that it is one.
fn bare(value: f64) -> String {
    if value.is_finite() { format!("{value:.2}") } else { "–".into() }
}

/// Modules whose accuracy a line of so many columns has room for.
pub fn shown(width: u16) -> usize {
    usize::from(width.saturating_sub(66) / 3).clamp(3, 10)
}

/// A learning rate.
pub fn rate(lr: f64) -> String {
    if lr == 0.0 || lr >= 1e-3 { format!("{lr:.4}") } else { format!("{lr:.1e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_one_module_has_no_column_of_modules() {
        let eta = |in_modules| Eta { epochs: 1, images: 8, batch: 4, held: "val", in_modules, testing: 0.0 };
        assert!(header(&eta(true)).ends_with("time  modules %") && legend(&eta(true)).contains("modules %"));
        assert!(header(&eta(false)).ends_with("time") && legend(&eta(false)).ends_with("best so far)"));
        let row = |accuracies: &[f64]| Row {
            begin: "1/1".into(),
            test: "50.00".into(),
            is_best: false,
            end: "0:01".into(),
            accuracies: accuracies.to_vec(),
        };
        assert!(row(&[50.0]).line(3).ends_with("0:01"));
        assert_eq!(row(&[40.0, 50.0]).modules(3), "40 50");
    }
}
