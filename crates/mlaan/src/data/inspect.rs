//! Looks at every image of a set on disk, without keeping any: what there is, and what is wrong with it.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use super::decode::decode;
use super::normalise::{Sums, both, sums};
use super::open::{found, name};
use super::published::Published;
use super::stored::{CHUNK, Content, Images, Raw, Stored};
use super::{BUILTIN, Dataset, Known, Normalise, synthetic};
use crate::Result;

/// Problems that are kept; more are counted.
const MOST_PROBLEMS: usize = 100;

/// What a set is.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// What tables call it.
    pub name: String,
    /// The form it is in.
    pub format: &'static str,
    /// Which set of the literature it is, where its form says so.
    pub known: Option<Known>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Training images.
    pub train: SplitReport,
    /// Test images.
    pub test: SplitReport,
    /// What is to be said of how the set was read.
    pub notes: Vec<String>,
    /// Test images whose file, or pixels, are those of a training image too.
    pub shared: usize,
    /// The first problems, as text: numbers of images that are not those published, broken images, classes without images,
    /// images in both splits.
    pub problems: Vec<String>,
    /// All problems, also those that `problems` has no room for.
    pub problem_count: usize,
}

/// What a split is.
#[derive(Clone, Debug, Serialize)]
pub struct SplitReport {
    /// Where it lies.
    pub place: String,
    /// Images, broken ones included.
    pub images: usize,
    /// Images that cannot be read or decoded.
    pub broken: usize,
    /// Images of every class.
    pub per_class: Vec<usize>,
    /// Sizes of the images; none where all are broken.
    pub sizes: Option<Sizes>,
    /// Mean and deviation of all pixels, of 1; none where all images are broken.
    pub pixels: Option<Normalise>,
    /// Bytes of all images decoded.
    pub decoded_bytes: u64,
    /// Images that are there more than once, without the first of each.
    pub repeated: usize,
}

/// Sizes of images, each `[height, width]`: the smallest, the median and the largest by area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// The smallest.
    pub least: [usize; 2],
    /// The median.
    pub median: [usize; 2],
    /// The largest.
    pub most: [usize; 2],
}

/// Hears how many of all images have been looked at.
pub type Watch<'a> = &'a mut (dyn FnMut(usize, usize) + Send);

/// Looks at the set `source` (`builtin`, or a path) on the current rayon pool, and tells `watch` how far it is. Images are
/// decoded at their own size and dropped; one lies in memory per thread, or some hundred of a file that is read in order.
///
/// # Errors
/// When nothing is there, nothing that is known, or something too damaged to list its images.
pub fn inspect(source: &str, watch: Watch<'_>) -> Result<Inspection> {
    if source == BUILTIN {
        return built_in();
    }
    let path = Path::new(source);
    let (format, pair) = found(source, path)?;
    let (first, all) = (pair.train.labels.len(), pair.train.labels.len() + pair.test.labels.len());
    watch(0, all);
    let train = Seen::of(&pair.train, &mut |n| watch(n, all))?;
    let test = Seen::of(&pair.test, &mut |n| watch(first + n, all))?;
    let published = Published::of(format, pair.known, pair.train.classes.len());
    let counts = [pair.train.labels.len(), pair.test.labels.len()];
    let other = published.map(|p| p.differences(counts)).unwrap_or_default();
    let found = conclude(name(path), format.name, pair.known, &pair.train.classes, (train, test), other);
    Ok(Inspection { notes: pair.notes, ..found })
}

fn built_in() -> Result<Inspection> {
    let splits = synthetic::splits(0, synthetic::TRAIN, synthetic::TEST)?;
    let seen = |data: &dyn Dataset, place: &str| {
        let mut seen = Seen::new(place, data.classes().len());
        for index in 0..data.len() {
            let image =
                data.image(index, &mut Vec::new()).map(|image| Image::of(image.rgb, image.height, image.rgb));
            seen.add(index, data.label(index), image.map_err(|e| e.to_string()), &|index| {
                format!("image {index}")
            });
        }
        seen
    };
    let (train, test) = (seen(&*splits.train, "built-in, training"), seen(&*splits.test, "built-in, test"));
    Ok(conclude(splits.name, splits.format, None, splits.train.classes(), (train, test), Vec::new()))
}

/// What is kept of an image.
struct Image {
    size: [usize; 2],
    sums: Sums,
    print: u64,
}

impl Image {
    /// `raw` is the file, or the pixels where there is none.
    fn of(rgb: &[u8], height: usize, raw: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(raw);
        Image { size: [height, rgb.len() / 3 / height.max(1)], sums: sums(rgb), print: hasher.finish() }
    }

    fn read(raw: &Raw) -> std::result::Result<Self, String> {
        match raw.content.clone()? {
            Content::Rgb { height, .. } => Ok(Image::of(&raw.bytes, height, &raw.bytes)),
            Content::Encoded => {
                let image = decode(&raw.bytes, 0)?;
                Ok(Image::of(&image.rgb, image.height, &raw.bytes))
            }
        }
    }
}

/// What was seen of a split.
struct Seen {
    report: SplitReport,
    sums: Sums,
    sizes: Vec<[usize; 2]>,
    prints: HashSet<u64>,
    /// Those of every image, with its number; only what a shared image is called by.
    order: Vec<(u64, String)>,
    problems: Vec<String>,
}

impl Seen {
    fn new(place: &str, classes: usize) -> Self {
        let report = SplitReport {
            place: place.into(),
            images: 0,
            broken: 0,
            per_class: vec![0; classes],
            sizes: None,
            pixels: None,
            decoded_bytes: 0,
            repeated: 0,
        };
        Seen {
            report,
            sums: Sums::default(),
            sizes: Vec::new(),
            prints: HashSet::new(),
            order: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// `watch` hears how many images have been looked at.
    fn of(stored: &Stored, watch: &mut dyn FnMut(usize)) -> Result<Self> {
        let mut seen = Seen::new(&stored.place, stored.classes.len());
        let name = |index| stored.images.name(index);
        let mut add = |images: Vec<(usize, std::result::Result<Image, String>)>| {
            for (index, image) in images {
                let label = stored.labels.get(index).map_or(0, |l| *l as usize);
                seen.add(index, label, image, &name);
            }
            watch(seen.report.images);
        };
        let all: Vec<usize> = (0..stored.labels.len()).collect();
        match &stored.images {
            Images::Ordered(images) => images.scan(&all, &mut |raws| {
                add(raws.into_par_iter().map(|raw| (raw.index, Image::read(&raw))).collect());
                Ok(())
            })?,
            Images::Random(images) => {
                for chunk in all.chunks(CHUNK) {
                    // Read where it is decoded: files may be large, and a chunk of them all of memory.
                    let look = |&index: &usize| {
                        let mut bytes = Vec::new();
                        let content = images.read(index, &mut bytes);
                        (index, Image::read(&Raw { index, content, bytes }))
                    };
                    add(chunk.par_iter().map(look).collect());
                }
            }
        }
        Ok(seen)
    }

    fn add(
        &mut self,
        index: usize,
        label: usize,
        image: std::result::Result<Image, String>,
        name: &dyn Fn(usize) -> String,
    ) {
        self.report.images += 1;
        if let Some(n) = self.report.per_class.get_mut(label) {
            *n += 1;
        }
        match image {
            Ok(image) => {
                self.sums = both(self.sums, image.sums);
                self.sizes.push(image.size);
                if self.prints.insert(image.print) {
                    self.order.push((image.print, name(index)));
                } else {
                    self.report.repeated += 1;
                }
            }
            Err(message) => {
                self.report.broken += 1;
                self.problems.push(format!("{}: broken image: {message}", name(index)));
            }
        }
    }

    fn finished(mut self) -> SplitReport {
        self.sizes.sort_by_key(|[h, w]| (h * w, *h));
        let report = &mut self.report;
        if let (Some(least), Some(most)) = (self.sizes.first(), self.sizes.last()) {
            let median = self.sizes[self.sizes.len() / 2];
            report.sizes = Some(Sizes { least: *least, median, most: *most });
            report.pixels = Some(Normalise::of(self.sums));
            report.decoded_bytes = self.sums.0 * 3;
        }
        self.report
    }
}

/// Both splits together; `problems` are those of the whole set.
fn conclude(
    name: String,
    format: &'static str,
    known: Option<Known>,
    classes: &[String],
    (mut train, mut test): (Seen, Seen),
    mut problems: Vec<String>,
) -> Inspection {
    problems.append(&mut train.problems);
    problems.append(&mut test.problems);
    for (seen, what) in [(&train, "training"), (&test, "test")] {
        let empty = classes.iter().zip(&seen.report.per_class).filter(|(_, n)| **n == 0);
        problems.extend(empty.map(|(class, _)| format!("class `{class}` has no {what} image")));
    }
    let mut shared = 0;
    for (print, place) in &test.order {
        if train.prints.contains(print) {
            shared += 1;
            problems.push(format!("{place}: this test image is among the training images too"));
        }
    }
    let problem_count = problems.len();
    problems.truncate(MOST_PROBLEMS);
    Inspection {
        name,
        format,
        known,
        classes: classes.to_vec(),
        train: train.finished(),
        test: test.finished(),
        notes: Vec::new(),
        shared,
        problems,
        problem_count,
    }
}

impl Inspection {
    /// Bytes of all images decoded at their own size: what a run holds that keeps them so.
    pub fn decoded_bytes(&self) -> u64 {
        self.train.decoded_bytes + self.test.decoded_bytes
    }
}
