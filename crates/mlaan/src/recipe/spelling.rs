//! Spelling hints: what was probably meant.

use super::layers::EXTENDS;
use super::schema::{KEYS, names_in};

/// The candidates nearest to `word`, best first, none if nothing is similar.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    most: usize,
) -> Vec<&'a str> {
    let word = word.to_lowercase();
    let mut scored: Vec<(f64, &str)> = candidates
        .into_iter()
        .map(|c| (strsim::jaro_winkler(&word, &c.to_lowercase()), c))
        .filter(|(score, _)| *score >= 0.8)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().map(|(_, c)| c).take(most).collect()
}

/// The text for an unknown name `name` in `table` ("" is the top).
pub(super) fn unknown_key(table: &str, name: &str) -> String {
    let mut here = names_in(table);
    if table.is_empty() {
        here.insert(0, EXTENDS);
    }
    let dotted = |n: &str| match table {
        "" => n.to_owned(),
        _ => format!("{table}.{n}"),
    };
    let leaf = |p: &'static str| p.rsplit('.').next().unwrap_or(p);
    let elsewhere = |n: &str| KEYS.iter().map(|k| k.path).find(|p| leaf(p) == n);
    let meant = elsewhere(name)
        .map(str::to_owned)
        .or_else(|| nearest(name, here.iter().copied(), 1).first().map(|n| dotted(n)))
        .or_else(|| {
            let leaves = KEYS.iter().map(|k| leaf(k.path));
            let near = nearest(name, leaves, 1);
            near.first().and_then(|n| elsewhere(n)).map(str::to_owned)
        });
    let hint = match meant {
        Some(m) => format!("; did you mean `{m}`?"),
        None => ".".to_owned(),
    };
    let place = match table {
        "" => "at the top of a recipe".to_owned(),
        _ => format!("in [{table}]"),
    };
    format!("unknown key{hint} Allowed {place}: {}", here.join(", "))
}
