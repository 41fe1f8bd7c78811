//! The worst mistakes, as a table.

use crate::format;
use mlaan::evaluation::{Evaluation, Mistake};

/// Those that were asked for; nothing where none was. Images of the set at `source` are called by their place in it, each on one
/// line, to be copied: where the terminal is narrow they stand below, with the numbers of their mistakes.
pub fn table(found: &Evaluation, source: &str) -> Option<String> {
    if found.mistakes.is_empty() {
        return None;
    }
    let mut table = format::table(&[">#", "class", "predicted as", ">confidence", ">loss", "image"]);
    for (at, Mistake { index, image, class, predicted, confidence, loss }) in
        found.mistakes.iter().enumerate()
    {
        table.add_row([
            format::count(at + 1),
            class.clone(),
            predicted.clone().unwrap_or_else(|| "–".into()),
            confidence.map_or_else(|| "–".into(), format::percent),
            format::loss(*loss),
            image
                .as_deref()
                .map_or_else(|| format!("number {index}"), |image| inside(image, source).to_owned()),
        ]);
    }
    Some(format!(" Mistakes with the highest loss\n{}", format::text(&table)))
}

/// An image's name without that of the folder that holds the set.
fn inside<'a>(image: &'a str, source: &str) -> &'a str {
    let rest = image.strip_prefix(source.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'));
    rest.filter(|rest| !rest.is_empty()).unwrap_or(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_called_by_their_place_in_the_set() {
        assert_eq!(inside("data/set/test/cat/1.jpg", "data/set/"), "test/cat/1.jpg");
        assert_eq!(inside("data/settle/1.jpg", "data/set"), "data/settle/1.jpg");
        assert_eq!(inside("set.tar: test/cat/1.jpg", "set.tar"), "set.tar: test/cat/1.jpg");
    }
}
