//! What a set of images is like, by its labels and the headers of some of its images: enough to choose a network for it.

use std::path::Path;

use super::decode::{Orientation, extent};
use super::limit::choose;
use super::load::sample;
use super::open::{found, name};
use super::stored::{Content, Stored};
use super::{BUILTIN, Known, OpenOptions, formats, open, synthetic};
use crate::Result;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// What tables call the set.
    pub name: String,
    /// The form it is in, for people.
    pub format: &'static str,
    /// Which set of the literature it is, where its form says so.
    pub known: Option<Known>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Training images of every class; images of any use, where the set has no splits.
    pub per_class: Vec<usize>,
    /// Images of its own test split; none where it has none. A `val/` folder without a `test/` beside it is one.
    pub test: Option<usize>,
    /// Images of its own validation split beside the test split.
    pub validation: Option<usize>,
    /// Height and width of the median image by area, of a fixed few; none where none of them can be read.
    pub median: Option<[usize; 2]>,
}

impl Survey {
    /// Training images.
    pub fn images(&self) -> usize {
        self.per_class.iter().sum()
    }
}

/// Looks at the set `source`, without decoding an image. A set without a test split, or without splits, is one too: a part of
/// its images can be held out.
///
/// # Errors
/// As [`open`](super::open()) for what is no set.
pub fn survey(source: &str, options: &OpenOptions) -> Result<Survey> {
    if source == BUILTIN {
        return built_in(options);
    }
    let (format, parts) = found(source, Path::new(source), true)?;
    let orientation = formats::orientation(options.orientation, format, &parts);
    let chosen = choose(&parts.train.labels, options.limit, options.seed, 0);
    let mut per_class = vec![0; parts.train.classes.len()];
    for label in chosen.iter().filter_map(|&index| parts.train.labels.get(index)) {
        if let Some(images) = per_class.get_mut(*label as usize) {
            *images += 1;
        }
    }
    let at_most = |n: usize| options.limit.map_or(n, |limit| limit.min(n));
    let own = parts.validation.iter().flatten().next();
    Ok(Survey {
        name: name(Path::new(source)),
        format: format.name,
        known: parts.known,
        classes: parts.train.classes.clone(),
        per_class,
        test: parts.test.as_ref().ok().map(|test| at_most(test.labels.len())),
        validation: own.map(|own| at_most(own.labels.len())),
        median: median(sides(&parts.train, &chosen, orientation)?),
    })
}

fn built_in(options: &OpenOptions) -> Result<Survey> {
    let splits = open(BUILTIN, options)?;
    let train = splits.train.as_ref();
    let mut per_class = vec![0; train.classes().len()];
    (0..train.len()).for_each(|i| per_class[train.label(i)] += 1);
    Ok(Survey {
        name: splits.name,
        format: splits.format,
        known: None,
        classes: train.classes().to_vec(),
        per_class,
        test: Some(splits.test.len()),
        validation: splits.validation.map(|data| data.len()),
        median: Some([synthetic::SIDE; 2]),
    })
}

/// Sizes of a fixed few images.
fn sides(stored: &Stored, chosen: &[usize], orientation: Orientation) -> Result<Vec<[usize; 2]>> {
    let mut sides = Vec::new();
    sample(stored, chosen, &mut |content, bytes| match content {
        Ok(Content::Encoded) => {
            sides.extend(extent(bytes, orientation).ok().map(|e| [e.sides.0, e.sides.1]));
        }
        Ok(Content::Rgb { height, width }) => sides.push([height, width]),
        Err(_) => {}
    })?;
    Ok(sides)
}

/// The median by area.
pub(super) fn median(mut sides: Vec<[usize; 2]>) -> Option<[usize; 2]> {
    sides.sort_by_key(|[h, w]| (h * w, *h));
    sides.get(sides.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_one_of_the_images() {
        assert_eq!(median(vec![[9, 1], [1, 2], [4, 5]]), Some([9, 1]));
        assert_eq!(median(Vec::new()), None);
    }
}
