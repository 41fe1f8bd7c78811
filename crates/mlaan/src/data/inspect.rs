//! Looks at every image of a set on disk, without keeping any: what there is, and what is wrong with it.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use super::decode::{Fault, Orientation, decode, extent};
use super::formats::orientation;
use super::normalise::{Sums, both, sums};
use super::open::{found, name};
use super::published::Published;
use super::roles::{Roles, check};
use super::stored::{CHUNK, Content, Images, Raw, Stored};
use super::{BUILTIN, Dataset, Known, Normalise, Notes, OpenOptions, open};
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
    /// Whether images whose EXIF orientation says so are turned, unless a recipe says otherwise.
    #[serde(serialize_with = "word")]
    pub orientation: Orientation,
    /// Training images.
    pub train: SplitInspection,
    /// Validation images, where there are some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<SplitInspection>,
    /// Test images.
    pub test: SplitInspection,
    /// Test and validation images whose file, or pixels, are those of a training image too.
    pub shared: usize,
    /// The first problems, as text: numbers of images that are not those published, broken images, classes without images,
    /// images in both splits.
    pub problems: Vec<String>,
    /// All problems, also those that `problems` has no room for.
    pub problem_count: usize,
    /// What was not read, and how the set was understood where that is not plain.
    pub notes: Notes,
}

/// What a split is.
#[derive(Clone, Debug, Serialize)]
pub struct SplitInspection {
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
    /// Images that their EXIF orientation says to turn.
    pub turned: usize,
    /// Mean and standard deviation of all pixels, of 1 (0 where a channel is constant); none where all images are broken.
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
    inspect_with(source, &OpenOptions::default(), watch)
}

/// As [`inspect`], with the images of each split as they are used when the set is opened with these options.
///
/// # Errors
/// As [`inspect`]; shares that cannot be held out.
pub fn inspect_with(source: &str, options: &OpenOptions, watch: Watch<'_>) -> Result<Inspection> {
    check(options)?;
    if source == BUILTIN {
        return built_in(options);
    }
    let path = Path::new(source);
    let (format, mut parts) = found(source, path, options.test.is_some())?;
    let mut notes = parts.take_notes();
    let (known, orientation) = (parts.known, orientation(options.orientation, format, &parts));
    let roles = Roles::of(parts, options, &mut notes)?;
    let (train, validation, test) = (&roles.train, roles.validation(), roles.test());
    let numbers = [roles.drawn.train.len(), validation.map_or(0, |v| v.1.len()), test.1.len()];
    let all = numbers.iter().sum();
    watch(0, all);
    let [first, second, _] = numbers;
    let seen_train = Seen::of((train, &roles.drawn.train), orientation, &mut |n| watch(n, all))?;
    let seen_validation =
        validation.map(|v| Seen::of(v, orientation, &mut |n| watch(first + n, all))).transpose()?;
    let seen_test = Seen::of(test, orientation, &mut |n| watch(first + second + n, all))?;
    let published = Published::of(format, known, train.classes.len()).filter(|_| options.limit.is_none());
    let counts = [train.labels.len(), test.0.labels.len()];
    let other = published.map(|p| p.differences(counts)).unwrap_or_default();
    let form = (format.name, known, orientation);
    let seen = (seen_train, seen_validation, seen_test);
    let found = conclude(name(path), form, &train.classes, seen, other);
    Ok(Inspection { notes, ..found })
}

fn built_in(options: &OpenOptions) -> Result<Inspection> {
    let splits = open(BUILTIN, options)?;
    let seen = |data: &dyn Dataset, place: &str| {
        let mut seen = Seen::new(place, data.classes().len());
        for index in 0..data.len() {
            let image =
                data.image(index, &mut Vec::new()).map(|image| Image::of(image.rgb, image.height, image.rgb));
            seen.add(index, data.label(index), image.map_err(|e| e.to_string().into()), &|index| {
                format!("image {index}")
            });
        }
        seen
    };
    let (train, test) = (seen(&*splits.train, "built-in, training"), seen(&*splits.test, "built-in, test"));
    let validation = splits.validation.as_ref().map(|data| seen(data.as_ref(), "built-in, training"));
    let form = (splits.format, None, splits.orientation);
    Ok(conclude(splits.name, form, splits.train.classes(), (train, validation, test), Vec::new()))
}

/// What is kept of an image.
struct Image {
    size: [usize; 2],
    turned: bool,
    sums: Sums,
    print: u64,
}

impl Image {
    /// `raw` is the file, or the pixels where there is none.
    fn of(rgb: &[u8], height: usize, raw: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(raw);
        let size = [height, rgb.len() / 3 / height.max(1)];
        Image { size, turned: false, sums: sums(rgb), print: hasher.finish() }
    }

    fn read(raw: &Raw, orientation: Orientation) -> std::result::Result<Self, Fault> {
        match raw.content.clone()? {
            Content::Rgb { height, .. } => Ok(Image::of(&raw.bytes, height, &raw.bytes)),
            Content::Encoded => {
                let turned = extent(&raw.bytes, orientation)?.turned;
                let image = decode(&raw.bytes, 0, orientation)?;
                Ok(Image { turned, ..Image::of(&image.rgb, image.height, &raw.bytes) })
            }
        }
    }
}

/// What was seen of a split.
struct Seen {
    report: SplitInspection,
    sums: Sums,
    sizes: Vec<[usize; 2]>,
    prints: HashSet<u64>,
    /// Those of every image, with its number; only what a shared image is called by.
    order: Vec<(u64, String)>,
    problems: Vec<String>,
}

impl Seen {
    fn new(place: &str, classes: usize) -> Self {
        let report = SplitInspection {
            place: place.into(),
            images: 0,
            broken: 0,
            per_class: vec![0; classes],
            sizes: None,
            pixels: None,
            decoded_bytes: 0,
            repeated: 0,
            turned: 0,
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
    fn of(
        (stored, chosen): (&Stored, &[usize]),
        orientation: Orientation,
        watch: &mut dyn FnMut(usize),
    ) -> Result<Self> {
        let mut seen = Seen::new(&stored.place, stored.classes.len());
        let name = |index| stored.images.name(index);
        let mut add = |images: Vec<(usize, std::result::Result<Image, Fault>)>| {
            for (index, image) in images {
                let label = stored.labels.get(index).map_or(0, |l| *l as usize);
                seen.add(index, label, image, &name);
            }
            watch(seen.report.images);
        };
        match &stored.images {
            Images::Ordered(images) => images.scan(chosen, &mut |raws| {
                add(raws.into_par_iter().map(|raw| (raw.index, Image::read(&raw, orientation))).collect());
                Ok(())
            })?,
            Images::Random(images) => {
                for chunk in chosen.chunks(CHUNK) {
                    // Read where it is decoded: files may be large, and a chunk of them all of memory.
                    let inspected = |&index: &usize| {
                        let mut bytes = Vec::new();
                        let content = images.read(index, &mut bytes);
                        (index, Image::read(&Raw { index, content, bytes }, orientation))
                    };
                    add(chunk.par_iter().map(inspected).collect());
                }
            }
        }
        Ok(seen)
    }

    fn add(
        &mut self,
        index: usize,
        label: usize,
        image: std::result::Result<Image, Fault>,
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
                self.report.turned += usize::from(image.turned);
                if self.prints.insert(image.print) {
                    self.order.push((image.print, name(index)));
                } else {
                    self.report.repeated += 1;
                }
            }
            Err(fault) => {
                self.report.broken += 1;
                self.problems.push(format!("{}: {}", name(index), fault.said()));
            }
        }
    }

    fn finished(mut self) -> SplitInspection {
        self.sizes.sort_by_key(|[h, w]| (h * w, *h));
        let report = &mut self.report;
        if let (Some(least), Some(most)) = (self.sizes.first(), self.sizes.last()) {
            let median = self.sizes[self.sizes.len() / 2];
            report.sizes = Some(Sizes { least: *least, median, most: *most });
            report.pixels = Some(Normalise::seen(self.sums));
            report.decoded_bytes = self.sums.0 * 3;
        }
        self.report
    }
}

/// All splits together; `problems` are those of the whole set.
fn conclude(
    name: String,
    (format, known, orientation): (&'static str, Option<Known>, Orientation),
    classes: &[String],
    (mut train, mut validation, mut test): (Seen, Option<Seen>, Seen),
    mut problems: Vec<String>,
) -> Inspection {
    problems.append(&mut train.problems);
    for held in validation.iter_mut().chain([&mut test]) {
        problems.append(&mut held.problems);
    }
    let held = validation.iter().map(|seen| (seen, "validation")).chain([(&test, "test")]);
    for (seen, what) in [(&train, "training")].into_iter().chain(held.clone()) {
        let empty = classes.iter().zip(&seen.report.per_class).filter(|(_, n)| **n == 0);
        problems.extend(empty.map(|(class, _)| format!("class `{class}` has no {what} image")));
    }
    let mut shared = 0;
    for (seen, what) in held {
        for (print, place) in &seen.order {
            if train.prints.contains(print) {
                shared += 1;
                problems.push(format!("{place}: this {what} image is among the training images too"));
            }
        }
    }
    for (print, place) in &test.order {
        if validation.as_ref().is_some_and(|seen| seen.prints.contains(print)) {
            problems.push(format!("{place}: this test image is among the validation images too"));
        }
    }
    let problem_count = problems.len();
    problems.truncate(MOST_PROBLEMS);
    Inspection {
        name,
        format,
        known,
        orientation,
        classes: classes.to_vec(),
        train: train.finished(),
        validation: validation.map(Seen::finished),
        test: test.finished(),
        shared,
        problems,
        problem_count,
        notes: Notes::default(),
    }
}

/// As recipes have it.
fn word<S: serde::Serializer>(orientation: &Orientation, out: S) -> std::result::Result<S::Ok, S::Error> {
    out.serialize_str(if orientation.turns() { "exif" } else { "ignore" })
}

impl Inspection {
    /// Bytes of all images decoded at their own size: what a run holds that keeps them so.
    pub fn decoded_bytes(&self) -> u64 {
        let validation = self.validation.as_ref().map_or(0, |split| split.decoded_bytes);
        self.train.decoded_bytes + validation + self.test.decoded_bytes
    }
}
