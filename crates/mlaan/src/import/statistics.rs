//! What a wrapper that normalises images keeps beside the network: mean and standard deviation of every channel.

use super::entry::Tensors;
use crate::Result;
use crate::recipe::MeanStd;

/// Words of their names.
const MEANS: [&str; 2] = ["mean", "mu"];
const DEVIATIONS: [&str; 4] = ["std", "sigma", "stdev", "deviation"];
/// Statistics above this are of pixels from 0 to 255.
const OF_ONE: f64 = 2.0;
/// How far numbers may lie apart that are the same to so many digits as people write.
const NEAR: f64 = 1e-3;

/// Names of a mean and a standard deviation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Names {
    pub mean: String,
    pub std: String,
}

/// The part of a name behind its last dot says that it is one of `words`, as `pixel_mean` does.
fn is_called(name: &str, words: &[&str]) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    !last.starts_with("running") && last.split('_').any(|word| words.contains(&word))
}

/// the mean and the standard deviation among tensors: of three values, or one for all channels, and in the same module.
pub(super) fn names(tensors: &Tensors) -> Option<Names> {
    let found = |words: &[&str], module: Option<&str>| {
        let fits = |name: &str| module.is_none_or(|m| module_of(name) == m) && is_called(name, words);
        let few = |shape: &[usize]| matches!(shape.iter().product::<usize>(), 1 | 3);
        tensors.iter().find(|(name, entry)| fits(name) && few(&entry.shape)).map(|(name, _)| name.clone())
    };
    let mean = found(&MEANS, None)?;
    let std = found(&DEVIATIONS, Some(module_of(&mean)))?;
    Some(Names { mean, std })
}

/// Whether a tensor of this name and sizes is one of them: a file may have several, as an attack's beside the network's.
pub(super) fn is_one(name: &str, shape: &[usize]) -> bool {
    matches!(shape.iter().product::<usize>(), 1 | 3)
        && (is_called(name, &MEANS) || is_called(name, &DEVIATIONS))
}

fn module_of(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(module, _)| module)
}

/// The statistics under these names, which `read` reads, of pixels from 0 to 1; none where they cannot be any.
///
/// # Errors
/// A file that is damaged or cannot be read.
pub(super) fn values(
    read: &mut dyn FnMut(&str) -> Result<Vec<f32>>,
    names: &Names,
) -> Result<Option<MeanStd>> {
    let mut three = |name: &str| -> Result<Option<[f64; 3]>> {
        let values = read(name)?;
        Ok(match values.as_slice() {
            [one] => Some([f64::from(*one); 3]),
            [a, b, c] => Some([*a, *b, *c].map(f64::from)),
            _ => None,
        })
    };
    let (Some(mut mean), Some(mut std)) = (three(&names.mean)?, three(&names.std)?) else { return Ok(None) };
    if mean.iter().chain(&std).any(|v| *v > OF_ONE) {
        for value in mean.iter_mut().chain(&mut std) {
            *value /= 255.0;
        }
    }
    // As people write them, not as 32 bits hold them.
    for value in mean.iter_mut().chain(&mut std) {
        *value = (*value * 1e6).round() / 1e6;
    }
    let can_be = mean.iter().all(|m| m.is_finite()) && std.iter().all(|s| *s > 0.0 && s.is_finite());
    Ok(can_be.then_some(MeanStd { mean, std }))
}

/// Whether both normalise alike.
pub(super) fn alike(a: &MeanStd, b: &MeanStd) -> bool {
    let pairs = a.mean.iter().zip(&b.mean).chain(a.std.iter().zip(&b.std));
    pairs.into_iter().all(|(a, b)| (a - b).abs() <= NEAR)
}

/// What to say of a file's statistics beside those that are used.
pub(super) fn remark(names: &Names, own: &MeanStd, used: &MeanStd) -> Option<String> {
    (!alike(own, used)).then(|| {
        format!(
            "The file normalizes images itself, by `{}` and `{}` ({}): these differ from the mean and standard deviation that are used \
             here ({}).",
            names.mean,
            names.std,
            text(own),
            text(used)
        )
    })
}

/// What to say where they are used; `usual` is what would be without them.
pub(crate) fn taken(names: &Names, own: &MeanStd, usual: &MeanStd) -> String {
    let other = match alike(own, usual) {
        true => String::new(),
        false => format!(", not as usual ({})", text(usual)),
    };
    format!("Images are normalized by its own `{}` and `{}` ({}){other}.", names.mean, names.std, text(own))
}

fn text(statistics: &MeanStd) -> String {
    let round = |values: &[f64; 3]| values.map(|v| (v * 1e4).round() / 1e4);
    format!("{:?} and {:?}", round(&statistics.mean), round(&statistics.std))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::entry::{Entry, Place};
    use crate::pickle::Element;

    fn entry(shape: &[usize]) -> Entry {
        let place = Place::File { element: Element::F32, start: 0 };
        Entry { shape: shape.to_vec(), place }
    }

    fn tensors(of: &[(&str, &[usize])]) -> Tensors {
        of.iter().map(|(name, shape)| ((*name).to_owned(), entry(shape))).collect()
    }

    #[test]
    fn means_and_deviations_are_told_by_names_and_extents() {
        let of = |list: &[(&str, &[usize])]| names(&tensors(list)).map(|n| (n.mean, n.std));
        let both = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(of(&[("mean", &[1, 3, 1, 1]), ("std", &[1, 3, 1, 1])]), both("mean", "std"));
        assert_eq!(of(&[("pixel_mean", &[3]), ("pixel_std", &[3, 1, 1])]), both("pixel_mean", "pixel_std"));
        assert_eq!(of(&[("n.mean", &[3]), ("n.std", &[1])]), both("n.mean", "n.std"));
        assert_eq!(of(&[("a.mean", &[3]), ("b.std", &[3])]), None);
        assert_eq!(of(&[("bn1.running_mean", &[3]), ("bn1.std", &[3])]), None);
        assert_eq!(of(&[("mean", &[16]), ("std", &[16])]), None);
        assert!(is_one("attack.new_mean", &[3, 1, 1]) && !is_one("meaning", &[3]));
    }

    #[test]
    fn what_differs_is_said() {
        let names = Names { mean: "mean".into(), std: "std".into() };
        let of = |mean: f64| MeanStd { mean: [mean; 3], std: [0.25; 3] };
        assert_eq!(remark(&names, &of(0.5), &of(0.5001)), None);
        let text = remark(&names, &of(0.5), &of(0.4)).unwrap();
        assert!(text.contains("[0.5, 0.5, 0.5]") && text.contains("[0.4, 0.4, 0.4]"), "{text}");
        assert!(!taken(&names, &of(0.5), &of(0.5001)).contains("usual"));
        assert!(taken(&names, &of(0.5), &of(0.4)).contains("not as usual ([0.4, 0.4, 0.4]"));
    }
}
