//! Precision, recall and F1 of every class, as a table.

use crate::format;
use mlaan::evaluation::{Average, ClassScores, Evaluation};

/// Classes in the table at most; of more, those with the lowest recall are shown.
const ROWS: usize = 50;

/// The table, with the averages below.
pub fn table(found: &Evaluation) -> String {
    let mut shown: Vec<&ClassScores> = found.classes.iter().collect();
    if shown.len() > ROWS {
        shown.sort_by(|a, b| b.error.unwrap_or(-1.0).total_cmp(&a.error.unwrap_or(-1.0)));
        shown.truncate(ROWS);
    }
    let mut table = format::table(&["class", ">images", ">precision", ">recall", ">F1"]);
    let share = |value: Option<f64>| value.map_or_else(|| "–".into(), format::percent);
    for c in &shown {
        let images = format::count(c.images);
        table.add_row([c.name.clone(), images, share(c.precision), share(c.recall), share(c.f1)]);
    }
    let mut average = |what: &str, a: Average| {
        let images = format::count(found.images);
        table.add_row([what.to_owned(), images, share(a.precision), share(a.recall), share(a.f1)]);
    };
    average("macro average", found.macro_average);
    average("weighted average", found.weighted_average);
    let table = format::text(&table);
    match found.classes.len() - shown.len() {
        0 => table,
        n => format!("{table}\n … {n} with a higher recall; --json prints all"),
    }
}
