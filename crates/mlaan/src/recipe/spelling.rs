//! Keys that there are not: what was probably meant.

use super::schema::{EXTENDS, KEYS, names_in};
use crate::text::nearest;

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
    // A path of which a table is misspelt.
    let path = |name: &str| {
        let near = nearest(&dotted(name), KEYS.iter().map(|k| k.path), 1);
        near.first().filter(|_| name.contains('.')).map(|&n| n.to_owned())
    };
    let meant = elsewhere(name)
        .map(str::to_owned)
        .or_else(|| path(name))
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
