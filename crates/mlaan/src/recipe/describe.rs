//! What a recipe may hold, for people and for editors: made from the list that the checks use, and from the defaults of the
//! structures themselves.

use super::Recipe;
use super::builtin::{builtin, recipes};
use super::check::{WEIGHT, expected};
use super::schema::{self, EXTENDS, KEYS, Key, MANY, TABLES, ValueType};
use crate::data::RandAugment;
use crate::local::{Cascade, Leap};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

impl Key {
    /// Type and range, in words.
    pub fn expects(&self) -> String {
        expected(self.kind)
    }

    /// The default, as TOML writes it; none for a key that is absent by default. Keys of an optional table have theirs when
    /// the table is there.
    pub fn default_text(&self) -> Option<String> {
        value_at(&defaults()?, self.path).map(ToString::to_string)
    }
}

/// Every default, also those in optional tables.
fn defaults() -> Option<toml::Table> {
    let mut recipe = Recipe::default();
    (recipe.local.cascade, recipe.local.leap) = (Some(Cascade::default()), Some(Leap::default()));
    let mut table = recipe.to_table().ok()?;
    // Those that recipes do not spell out.
    if let Some(toml::Value::Table(train)) = table.get_mut("train") {
        train.insert("optimizer".into(), recipe.train.optimizer.word().into());
    }
    if let Some(toml::Value::Table(data)) = table.get_mut("data") {
        data.insert("sampler".into(), "shuffle".into());
    }
    Some(table)
}

fn value_at<'a>(table: &'a toml::Table, path: &str) -> Option<&'a toml::Value> {
    match path.split_once('.') {
        Some((first, rest)) => value_at(table.get(first)?.as_table()?, rest),
        None => table.get(path),
    }
}

/// A JSON Schema (draft 2020-12) of recipe files: editors complete and check keys with it.
pub fn json_schema() -> Value {
    let defaults = defaults().unwrap_or_default();
    let mut tables: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for key in KEYS {
        let (table, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        let default = value_at(&defaults, key.path).and_then(|v| serde_json::to_value(v).ok());
        tables.entry(table).or_default().insert(name.to_owned(), of_key(key, default));
    }
    // Inner tables first, so that each is whole when it goes into its outer one.
    for (path, optional) in TABLES.iter().rev() {
        let inner = object(tables.remove(path).unwrap_or_default());
        let (table, name) = path.rsplit_once('.').unwrap_or(("", path));
        let either = if *optional { absent_or(inner, &["none", "off", "on"]) } else { inner };
        tables.entry(table).or_default().insert(name.to_owned(), either);
    }
    let mut top = tables.remove("").unwrap_or_default();
    top.insert(EXTENDS.to_owned(), extends());
    let mut root = object(top);
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("A recipe of mlaan");
    root
}

fn object(properties: Map<String, Value>) -> Value {
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

fn absent_or(schema: Value, words: &[&str]) -> Value {
    json!({"anyOf": [schema, {"enum": words}]})
}

fn of_key(key: &Key, default: Option<Value>) -> Value {
    let held = of_kind(key.kind);
    let mut schema = if key.optional { absent_or(held, &["none", "off"]) } else { held };
    schema["description"] = json!(key.help);
    if let Some(default) = default {
        schema["default"] = default;
    }
    schema
}

fn of_kind(kind: ValueType) -> Value {
    let number = |low: f64, high: f64| json!({"type": "number", "minimum": low, "maximum": high});
    match kind {
        ValueType::Text => json!({"type": "string"}),
        ValueType::Flag => json!({"type": "boolean"}),
        // Bounds that only keep arithmetic safe help no reader.
        ValueType::Whole(low, high) if high >= MANY => json!({"type": "integer", "minimum": low}),
        ValueType::Whole(low, high) => json!({"type": "integer", "minimum": low, "maximum": high}),
        ValueType::Real(low, high) => number(low, high),
        ValueType::Above(low, high) => json!({"type": "number", "exclusiveMinimum": low, "maximum": high}),
        ValueType::Share(true) => json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}),
        ValueType::Share(false) => json!({"type": "number", "minimum": 0, "exclusiveMaximum": 1}),
        ValueType::Pair(low, high) => several(number(low, high), 2),
        ValueType::Part => json!({"type": "number", "minimum": 0, "exclusiveMaximum": 1}),
        ValueType::Weights(words) => {
            let each = json!({"type": "number", "exclusiveMinimum": 0, "maximum": WEIGHT});
            json!({"anyOf": [{"enum": words}, {"type": "array", "minItems": 1, "items": each}]})
        }
        ValueType::Betas => several(json!({"type": "number", "minimum": 0, "exclusiveMaximum": 1}), 2),
        ValueType::Word(words) => json!({"enum": words}),
        ValueType::Words(words) => json!({"type": "array", "uniqueItems": true, "items": {"enum": words}}),
        ValueType::Names => {
            json!({"type": "array", "uniqueItems": true, "items": {"type": "string", "minLength": 1}})
        }
        ValueType::Backbone => json!({"type": "string", "pattern": "^resnet[1-9][0-9]*$"}),
        ValueType::Head => json!({"type": "string", "pattern": "^([0-9]c[1-9]f|dgl)$"}),
        ValueType::Jitter => {
            let (part, hue) = (json!({"type": "number", "minimum": 0}), number(0.0, 0.5));
            let four = json!({"type": "array", "minItems": 4, "prefixItems": [part, part, part, hue], "items": false});
            json!({"anyOf": [part, four]})
        }
        ValueType::RandAugment => {
            let whole = |low: usize, high: usize| json!({"type": "integer", "minimum": low, "maximum": high});
            let two = [whole(1, RandAugment::MOST), whole(0, RandAugment::BINS - 1)];
            json!({"type": "array", "minItems": 2, "prefixItems": two, "items": false})
        }
        ValueType::Ascending => json!({"type": "array", "uniqueItems": true, "items": block()}),
        ValueType::Lists => json!({"type": "array", "items": {"type": "array", "items": block()}}),
        ValueType::Normalise(words) => {
            let std = several(json!({"type": "number", "exclusiveMinimum": 0, "maximum": 1}), 3);
            let statistics =
                Map::from_iter([("mean".to_owned(), several(number(0.0, 1.0), 3)), ("std".to_owned(), std)]);
            let mut table = object(statistics);
            table["required"] = json!(["mean", "std"]);
            json!({"anyOf": [{"enum": words}, table]})
        }
    }
}

fn block() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn several(item: Value, n: usize) -> Value {
    json!({"type": "array", "items": item, "minItems": n, "maxItems": n})
}

fn extends() -> Value {
    let files = builtin().iter().map(|b| b.name.to_owned());
    let examples: Vec<String> = files.chain(recipes()).collect();
    let name = json!({"type": "string", "examples": examples});
    json!({
        "description": schema::EXTENDS_HELP,
        "anyOf": [name.clone(), {"type": "array", "items": name}],
    })
}
