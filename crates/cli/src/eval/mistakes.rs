//! The worst mistakes, as a table.

use crate::format;
use mlaan::evaluation::{Evaluation, Mistake};

/// Those that were asked for; nothing where none was.
pub fn table(found: &Evaluation, width: u16) -> Option<String> {
    if found.mistakes.is_empty() {
        return None;
    }
    let mut table = format::table(&["class", "taken for", ">confidence", ">loss", "image"]);
    for Mistake { index, image, class, predicted, confidence, loss } in &found.mistakes {
        table.add_row([
            class.clone(),
            predicted.clone().unwrap_or_else(|| "–".into()),
            confidence.map_or_else(|| "–".into(), format::percent),
            format::loss(*loss),
            image.clone().unwrap_or_else(|| format!("number {index}")),
        ]);
    }
    format::fit(&mut table, width);
    Some(format!(" Mistakes with the highest loss\n{}", format::text(&table)))
}
