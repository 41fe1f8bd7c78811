//! Classes by their names and indices.

use std::collections::BTreeMap;

/// A class's name, and what else it is called.
#[derive(Clone)]
pub(super) struct Named {
    pub name: String,
    /// The first of a list, as ImageNet's `n01440764`.
    pub id: Option<String>,
}

/// Names by index, which are all from 0 up.
pub(super) fn ordered(pairs: Vec<(Option<u64>, Named)>) -> std::result::Result<Vec<Named>, String> {
    let count = pairs.len();
    let mut found: BTreeMap<u64, Named> = BTreeMap::new();
    for (index, class) in pairs {
        let index = index.ok_or_else(|| format!("{:?} has no index", class.name))?;
        let name = class.name.clone();
        if let Some(other) = found.insert(index, class) {
            return Err(format!("class {index} is both {:?} and {name:?}", other.name));
        }
    }
    if let Some(missing) = (0..count as u64).find(|i| !found.contains_key(i)) {
        let highest = found.last_key_value().map_or(0, |(i, _)| *i);
        return Err(format!(
            "class {missing} has no name, and the highest index is {highest}; indices are all from 0 up"
        ));
    }
    Ok(found.into_values().collect())
}
