//! What this library's own export says beside the weights: classes, image size, statistics.

use std::collections::HashMap;
use std::path::Path;

use super::Options;
use crate::recipe::MeanStd;
use crate::{Error, Result};

/// Sides that images can have, as for `data.size`.
const SIDES: std::ops::RangeInclusive<usize> = 8..=8192;

/// `options`, with what `about` says where they say nothing; `about` counts where this library wrote it.
///
/// # Errors
/// Values that cannot be.
pub(crate) fn described(file: &Path, about: &HashMap<String, String>, options: &Options) -> Result<Options> {
    let mut options = options.clone();
    if !about.get("producer").is_some_and(|producer| producer.starts_with("mlaan ")) {
        return Ok(options);
    }
    if options.classes.is_none() {
        options.classes = value(file, about, "classes")?;
    }
    if options.size.is_none() {
        options.size = value(file, about, "size")?;
        if let Some(size) = options.size.filter(|size| !SIDES.contains(size)) {
            return Err(wrong(file, "size", &format!("{size} pixels")));
        }
    }
    if options.normalise.is_none() {
        let read = |key: &str| value::<[f64; 3]>(file, about, key);
        options.normalise = read("mean")?.zip(read("std")?).map(|(mean, std)| MeanStd { mean, std });
        if let Some(values) = options.normalise.filter(|n| !n.std.iter().all(|s| *s > 0.0)) {
            return Err(wrong(file, "std", &format!("{:?}", values.std)));
        }
    }
    Ok(options)
}

fn value<T: serde::de::DeserializeOwned>(
    file: &Path,
    about: &HashMap<String, String>,
    key: &str,
) -> Result<Option<T>> {
    let text =
        about.get(key).map(|text| serde_json::from_str(text).map_err(|e| wrong(file, key, &e.to_string())));
    text.transpose()
}

fn wrong(file: &Path, key: &str, what: &str) -> Error {
    let message =
        format!("its metadata `{key}` cannot be used ({what}): the file is damaged, or was changed");
    Error::data(file.display().to_string(), message)
}
