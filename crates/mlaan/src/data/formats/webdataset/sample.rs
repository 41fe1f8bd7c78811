//! Which members of a shard make a sample: those with the same key, one after the other.
//!
//! The key ends at the first dot of a name (`0001.seg.png` belongs to `0001`). Many names have a dot before, though:
//! `cat.0.jpg`, `v1.5_a2.png`. So members whose names are the same up to the last dot are put together first; what then lacks
//! its other half, up to the dot before, and so on until the first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::sparse::Holes;
use super::label::{Label, LabelFile};
use crate::data::notes::{Notes, reason};

/// Where a member's bytes lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    pub offset: u64,
    pub size: u64,
    pub holes: Option<Arc<Holes>>,
}

/// A member of a shard.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Its path.
    pub name: String,
    /// Whether it is an image.
    pub image: bool,
    /// Its bytes.
    pub bytes: Bytes,
    /// The label in it.
    pub label: Option<(LabelFile, Label)>,
}

/// A sample: its image and label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub name: String,
    pub bytes: Bytes,
    pub label: (LabelFile, Label),
}

/// What members with one key came to.
#[derive(Debug, Default)]
pub(super) struct Samples {
    pub samples: Vec<Sample>,
    /// Images without a label.
    pub unlabelled: Vec<String>,
    /// A label without an image.
    pub without_image: Option<String>,
    /// What belongs to no sample.
    pub notes: Notes,
}

/// The key of a member, up to the first dot of its last part; none where there is no dot, or nothing before it.
pub(super) fn key(name: &str) -> Option<&str> {
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = last + name[last..].find('.')?;
    (dot > last).then(|| &name[..dot])
}

/// What is behind the last dot, in lower case.
pub(super) fn ending(name: &str) -> String {
    name.rsplit_once('.').map_or_else(String::new, |(_, ending)| ending.to_ascii_lowercase())
}

/// The name without its last `dots` endings, but not less than its key.
fn stem(name: &str, dots: usize) -> &str {
    let key = key(name).map_or(0, str::len);
    let mut end = name.len();
    for _ in 0..dots {
        match name[..end].rfind('.') {
            Some(dot) if dot >= key => end = dot,
            _ => break,
        }
    }
    &name[..end]
}

/// Dots behind the key's end.
fn dots(name: &str) -> usize {
    name[key(name).map_or(0, str::len)..].matches('.').count()
}

/// The samples of members that follow each other and have the same key.
pub(super) fn samples(mut parts: Vec<Part>, place: &dyn Fn(&str) -> String) -> Samples {
    let mut found = Samples::default();
    replace(&mut parts, &mut found.notes, place);
    let mut free: BTreeSet<usize> = (0..parts.len()).collect();
    let mut taken: Vec<(usize, usize)> = Vec::new();
    let mut stems: BTreeSet<String> = BTreeSet::new();
    let most = parts.iter().map(|part| dots(&part.name)).max().unwrap_or(0);
    for level in 1..=most {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        free.iter().for_each(|at| groups.entry(stem(&parts[*at].name, level)).or_default().push(*at));
        for (stem, members) in groups {
            if let Some((image, label)) = pair(&parts, &members, level) {
                taken.push((image, label));
                stems.insert(stem.to_owned());
                free.remove(&image);
                free.remove(&label);
            }
        }
        // What lies beside a sample belongs to it.
        let belongs =
            |at: &usize| (1..=dots(&parts[*at].name)).any(|n| stems.contains(stem(&parts[*at].name, n)));
        let beside: Vec<usize> = free.iter().copied().filter(belongs).collect();
        for at in beside {
            free.remove(&at);
            let name = &parts[at].name;
            if parts[at].image || ending(name) == "cls" {
                found.notes.skip(reason::ANOTHER_IMAGE, || place(name));
            }
        }
    }
    for at in free {
        let name = &parts[at].name;
        if parts[at].image {
            found.unlabelled.push(name.clone());
        } else if ending(name) == "cls" {
            found.without_image.get_or_insert_with(|| name.clone());
        } else {
            found.notes.skip(reason::NO_SAMPLE, || place(name));
        }
    }
    taken.sort_unstable();
    let sample = |(image, label): (usize, usize)| {
        let (image, label) = (&parts[image], parts[label].label.clone()?);
        Some(Sample { name: image.name.clone(), bytes: image.bytes.clone(), label })
    };
    found.samples = taken.into_iter().filter_map(sample).collect();
    found
}

/// Endings of images of which a sample may have several, in the order in which they are taken: that of `webdataset` and timm.
const ORDER: [&str; 4] = ["jpg", "png", "jpeg", "webp"];
/// What a sample's image is called where others lie beside it, as `0001.rgb.png` and `0001.depth.png`.
const CALLED: [&str; 4] = ["image", "img", "rgb", "input"];

/// Where an image stands among those that are the same up to the last dot.
fn order(name: &str) -> usize {
    ORDER.iter().position(|known| *known == ending(name)).unwrap_or(ORDER.len())
}

/// Where an image stands among several of a sample: by what it is called, and only then by its ending.
fn called(name: &str) -> (usize, usize) {
    let word = name.rsplit_once('.').and_then(|(stem, _)| stem.rsplit_once('.')).map_or("", |(_, word)| word);
    match CALLED.iter().position(|known| known.eq_ignore_ascii_case(word)) {
        Some(at) => (at, order(name)),
        None => (CALLED.len(), 0),
    }
}

/// Image and label of members that belong together. Up to the last dot there may be several, of which the first by [`ORDER`]
/// counts; beyond, it must be plain which is meant.
fn pair(parts: &[Part], members: &[usize], level: usize) -> Option<(usize, usize)> {
    let images = members.iter().copied().filter(|at| parts[*at].image);
    let labels = members.iter().filter_map(|at| Some((*at, parts[*at].label.as_ref()?.0)));
    if level == 1 {
        return Some((
            images.min_by_key(|at| (order(&parts[*at].name), *at))?,
            labels.min_by_key(|(at, source)| (*source, *at))?.0,
        ));
    }
    let image = only(images.map(|at| ((dots(&parts[at].name), called(&parts[at].name)), at)))?;
    let label = only(labels.map(|(at, source)| ((source, dots(&parts[at].name)), at)))?;
    Some((image, label))
}

/// The member with the least rank, if no other has that rank.
fn only<R: Ord + Copy>(ranked: impl Iterator<Item = (R, usize)> + Clone) -> Option<usize> {
    let least = ranked.clone().map(|(rank, _)| rank).min()?;
    let mut best = ranked.filter(|(rank, _)| *rank == least);
    best.next().filter(|_| best.next().is_none()).map(|(_, at)| at)
}

/// A later member takes the place of an earlier one of its name.
fn replace(parts: &mut Vec<Part>, notes: &mut Notes, place: &dyn Fn(&str) -> String) {
    let last: BTreeMap<String, usize> =
        parts.iter().enumerate().map(|(at, part)| (part.name.clone(), at)).collect();
    if last.len() == parts.len() {
        return;
    }
    let mut at = 0;
    parts.retain(|part| {
        at += 1;
        let stays = last.get(&part.name) == Some(&(at - 1));
        if !stays {
            notes.skip(reason::REPLACED, || place(&part.name));
        }
        stays
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::is_image;

    /// The images and labels found among members `NAME=LABEL` or `NAME`.
    fn found(members: &[&str]) -> (Vec<(String, i64)>, Samples) {
        let part = |member: &&str| {
            let (name, label) = member.split_once('=').map_or((*member, None), |(n, l)| (n, l.parse().ok()));
            let source = LabelFile::of(&ending(name));
            let label = label.and_then(|label| Some((source?, Label::Index(label))));
            Part { name: name.into(), image: is_image::by_name(name), bytes: Bytes::default(), label }
        };
        let samples = samples(members.iter().map(part).collect(), &|name| name.to_owned());
        let of = |s: &Sample| match s.label.1 {
            Label::Index(index) => (s.name.clone(), index),
            Label::Name(_) => (s.name.clone(), -1),
        };
        (samples.samples.iter().map(of).collect(), samples)
    }

    #[track_caller]
    fn are(members: &[&str], wanted: &[(&str, i64)]) -> Samples {
        let (pairs, samples) = found(members);
        let pairs: Vec<(&str, i64)> = pairs.iter().map(|(name, label)| (name.as_str(), *label)).collect();
        assert_eq!(pairs, wanted);
        samples
    }

    #[test]
    fn names_with_dots_are_samples_of_their_own() {
        are(
            &["v1.5_a2.png", "v1.5_a2.cls=1", "v1.5_a3.png", "v1.5_a3.cls=0"],
            &[("v1.5_a2.png", 1), ("v1.5_a3.png", 0)],
        );
        are(&["cat.0.cls=1", "cat.0.jpg", "cat.1.cls=0", "cat.1.jpg"], &[("cat.0.jpg", 1), ("cat.1.jpg", 0)]);
        are(&["cat.0.jpg", "cat.1.jpg", "cat.0.cls=1", "cat.1.cls=0"], &[("cat.0.jpg", 1), ("cat.1.jpg", 0)]);
        are(&["cat.jpg", "cat.cls=2", "cat.0.jpg", "cat.0.cls=1"], &[("cat.jpg", 2), ("cat.0.jpg", 1)]);
    }

    #[test]
    fn further_endings_belong_to_the_sample() {
        are(&["1.input.png", "1.target.cls=4"], &[("1.input.png", 4)]);
        are(
            &["1.5.input.png", "1.5.target.cls=4", "1.6.input.png", "1.6.target.cls=3"],
            &[("1.5.input.png", 4), ("1.6.input.png", 3)],
        );
        are(&["1.input.png", "1.cls=4"], &[("1.input.png", 4)]);
        are(&["1.png", "1.mask.png", "1.target.cls=4"], &[("1.png", 4)]);
        let samples = are(&["1.jpg", "1.seg.png", "1.json", "1.cls=4", "1.txt"], &[("1.jpg", 4)]);
        assert_eq!(samples.notes.skipped.len(), 1);
        assert_eq!(
            (samples.notes.skipped[0].reason, samples.notes.skipped[0].count),
            (reason::ANOTHER_IMAGE, 1)
        );
        let samples = are(&["cat.0.jpg", "cat.0.cls=1", "cat.0.seg.png"], &[("cat.0.jpg", 1)]);
        assert_eq!(samples.notes.skipped[0].reason, reason::ANOTHER_IMAGE);
    }

    #[test]
    fn of_several_images_one_is_taken_by_a_known_order() {
        for (members, wanted) in [
            (["1.depth.png", "1.rgb.png", "1.cls=4"], "1.rgb.png"),
            (["1.rgb.png", "1.depth.png", "1.cls=4"], "1.rgb.png"),
            (["1.mask.png", "1.Image.jpg", "1.cls=4"], "1.Image.jpg"),
            (["1.rgb.png", "1.image.png", "1.cls=4"], "1.image.png"),
            (["1.rgb.png", "1.rgb.jpg", "1.cls=4"], "1.rgb.jpg"),
            (["1.webp", "1.png", "1.cls=4"], "1.png"),
            (["1.png", "1.jpg", "1.cls=4"], "1.jpg"),
            (["1.jpeg", "1.png", "1.cls=4"], "1.png"),
            (["1.tif", "1.webp", "1.cls=4"], "1.webp"),
            (["1.rgb.png", "1.webp", "1.cls=4"], "1.webp"),
        ] {
            let samples = are(&members, &[(wanted, 4)]);
            let skipped = &samples.notes.skipped;
            assert_eq!((skipped.len(), skipped[0].count), (1, 1), "{members:?}");
            assert_eq!(skipped[0].reason, reason::ANOTHER_IMAGE);
        }
    }

    #[test]
    fn the_first_kind_of_label_counts() {
        are(&["1.json=2", "1.cls=3", "1.jpg", "1.txt=4"], &[("1.jpg", 3)]);
        are(&["1.json=2", "1.jpg", "1.txt=4"], &[("1.jpg", 2)]);
        are(&["1.jpg", "1.txt=4"], &[("1.jpg", 4)]);
    }

    #[test]
    fn halves_are_told() {
        let samples = are(&["cat.0.jpg", "cat.0.cls=1", "cat.1.jpg"], &[("cat.0.jpg", 1)]);
        assert_eq!(samples.unlabelled, ["cat.1.jpg"]);
        assert_eq!(
            are(&["cat.0.jpg", "cat.0.cls=1", "cat.1.cls=1"], &[("cat.0.jpg", 1)]).without_image,
            Some("cat.1.cls".into())
        );
        assert_eq!(
            are(&["1.left.png", "1.right.png", "1.cls=1"], &[]).unlabelled.len(),
            2,
            "which is meant?"
        );
        assert_eq!(
            are(&["1.left.jpg", "1.right.png", "1.cls=1"], &[]).unlabelled.len(),
            2,
            "endings say nothing"
        );
        let samples = are(&["notes.txt"], &[]);
        assert_eq!(samples.notes.skipped[0].reason, reason::NO_SAMPLE);
        let samples = are(&["1.png", "1.cls=1", "1.png", "1.cls=2"], &[("1.png", 2)]);
        assert_eq!((samples.notes.skipped[0].reason, samples.notes.skipped[0].count), (reason::REPLACED, 2));
    }

    #[test]
    fn keys_end_at_the_first_dot() {
        assert_eq!((key("a/b.c/0001.JPG"), ending("a/b.c/0001.JPG")), (Some("a/b.c/0001"), "jpg".into()));
        assert_eq!((key("0001.seg.png"), key("0001"), key("a/.hidden.jpg")), (Some("0001"), None, None));
        assert_eq!((stem("a.b/0001.seg.png", 1), stem("a.b/0001.seg.png", 5)), ("a.b/0001.seg", "a.b/0001"));
    }
}
