//! Lays one table of a recipe over another, key by key.

use super::schema::{self, join, removes};
use toml::{Table, Value};

/// Whether everything in a table, which stands at `path`, removes a key.
fn only_removes(path: &str, table: &Table) -> bool {
    let removed = |(name, value): (&String, &Value)| {
        schema::find(&join(path, name)).is_some_and(|k| k.optional) && value.as_str().is_some_and(removes)
    };
    !table.is_empty() && table.iter().all(removed)
}

/// Lays `over`, which was checked and stands at `path`, over `under`. Tables merge, other values replace; `none` or
/// `off` removes an optional key or table, `on` gives an optional table its defaults.
pub(super) fn merge(path: &str, under: &mut Table, over: &Table) {
    for (name, value) in over {
        let full = join(path, name);
        let optional = schema::find(&full).map(|k| k.optional).or(schema::table(&full)) == Some(true);
        match (value, schema::table(&full)) {
            (Value::String(word), _) if optional && removes(word) => {
                under.remove(name);
            }
            // What only removes keys makes no table.
            (Value::Table(inner), Some(true)) if !under.contains_key(name) && only_removes(&full, inner) => {}
            (Value::Table(inner), Some(_)) => {
                let place = under.entry(name.clone()).or_insert_with(|| Value::Table(Table::new()));
                match place {
                    Value::Table(below) => merge(&full, below, inner),
                    other => *other = value.clone(),
                }
            }
            // Of words, the checks leave only `on` for a table.
            (_, Some(_)) => {
                under.insert(name.clone(), Value::Table(Table::new()));
            }
            (_, None) => {
                under.insert(name.clone(), value.clone());
            }
        }
    }
}
