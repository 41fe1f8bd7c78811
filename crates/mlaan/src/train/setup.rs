//! From a recipe to what it names: backbone, data, augmentation, normalisation.

use crate::backbone::{Frozen, ResNet};
use crate::data::{self, Dataset, Frame, Known, LoaderPool, Names, OpenOptions, Splits, spread};
use crate::nn::Optimizer;
use crate::nn::optim::{AdamW, Lars, Objective, Rule, Sgd};
use crate::recipe::{self, Family, Load, MeanStd, Model, OptimizerKind, Orientation, Recipe, Statistics};
use crate::{Error, Result};
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{Device, DeviceKind};

/// The backbone that a recipe names.
///
/// # Errors
/// A depth that the family does not have.
pub fn backbone(model: &Model) -> Result<ResNet> {
    match model.family() {
        Family::Cifar => ResNet::cifar(model.backbone.depth(), model.width()),
        Family::Imagenet => ResNet::imagenet(model.backbone.depth(), model.width()),
    }
}

/// The backbone that a recipe trains, with what of it is frozen.
///
/// # Errors
/// As [`backbone`].
pub fn network(recipe: &Recipe) -> Result<Frozen<ResNet>> {
    Ok(Frozen::new(backbone(&recipe.model)?, &recipe.train.freeze))
}

/// The optimiser of a recipe.
pub fn optimizer(t: &recipe::Train) -> Optimizer {
    let (momentum, nesterov) = (t.momentum as f32, t.nesterov);
    // What is too small for 32 bits would be no eps.
    let eps = (t.eps_used() as f32).max(f32::MIN_POSITIVE);
    let rule = match t.optimizer {
        OptimizerKind::Sgd => Rule::Sgd(Sgd { momentum, nesterov }),
        OptimizerKind::AdamW => Rule::AdamW(AdamW { betas: t.betas_used(), eps }),
        OptimizerKind::Lars => Rule::Lars(Lars { momentum, nesterov, trust: t.trust_used() as f32, eps }),
    };
    Optimizer {
        rule,
        weight_decay: t.weight_decay as f32,
        no_decay: t.no_decay,
        // What is too small for 32 bits would be no norm.
        clip_grad_norm: t.clip_grad_norm.map(|norm| (norm as f32).max(f32::MIN_POSITIVE)),
        objective: Objective {
            label_smoothing: smoothing(t.label_smoothing.unwrap_or(0.0)),
            class_weights: t.class_weights.is_some(),
        },
        // Mirrors have their own.
        state_precision: mlaan_engine::Precision::F32,
    }
}

/// In 32 bits, where what is next to 1 stays less.
fn smoothing(part: f64) -> f32 {
    (part as f32).min(1.0 - f32::EPSILON / 2.0)
}

/// Opens a recipe's images; test images in memory are known by their names.
///
/// # Errors
/// What is wrong with the data, and where.
pub fn open(recipe: &Recipe, threads: usize) -> Result<Splits> {
    open_with(recipe, threads, Names::Test)
}

/// As [`open`], with the names of these images.
///
/// # Errors
/// As [`open`].
pub fn open_with(recipe: &Recipe, threads: usize, names: Names) -> Result<Splits> {
    let splits = data::open(&recipe.data.source, &open_options(recipe, threads, names))?;
    let validation = splits.validation.iter().map(|split| (split, "validation"));
    for (split, name) in [(&splits.train, "training"), (&splits.test, "test")].into_iter().chain(validation) {
        if split.is_empty() {
            return Err(Error::data(&recipe.data.source, format!("there is no {name} image")));
        }
    }
    Ok(splits)
}

/// How a recipe's images are opened, with so many threads and the names of these images.
pub fn open_options(recipe: &Recipe, threads: usize, names: Names) -> OpenOptions {
    let d = &recipe.data;
    OpenOptions {
        limit: d.limit,
        validation: d.validation,
        test: d.test,
        load: d.load.into(),
        short_side: frame(d).short_side,
        orientation: d.orientation.into(),
        skip_broken: d.skip_broken,
        names,
        seed: recipe.seed,
        threads,
    }
}

/// The splits with the validation images that the recipe wants, where images of one's own come without them.
///
/// # Errors
/// As [`Splits::hold_out`].
pub(super) fn held_out(recipe: &Recipe, splits: Splits) -> Result<Splits> {
    match recipe.data.validation {
        Some(0.0) => Ok(Splits { validation: None, ..splits }),
        Some(share) if splits.validation.is_none() => splits.hold_out(share, recipe.seed),
        _ => Ok(splits),
    }
}

/// What the network sees of an image of any size.
pub fn frame(d: &recipe::Data) -> Frame {
    Frame::new(d.size, d.short_side)
}

/// What `auto` chose: part of what a run computes, so a run that goes on must not choose again.
pub fn loaded(load: Load, splits: &Splits) -> Load {
    match load {
        Load::Auto if splits.train.streams() => Load::Stream,
        Load::Auto if splits.train.resident_bytes() > 0 => Load::Memory,
        load => load,
    }
}

/// What `auto` chose of turning pictures, for the same reason.
pub fn oriented(orientation: Orientation, splits: &Splits) -> Orientation {
    match (orientation, splits.orientation) {
        (Orientation::Auto, data::Orientation::Exif) => Orientation::Exif,
        (Orientation::Auto, data::Orientation::Ignore) => Orientation::Ignore,
        (asked, _) => asked,
    }
}

/// Threads that load the images of `data` beside what `device` computes: all where they are decoded each time, or beside
/// a GPU; else a quarter of those that compute on the processor, whose cores they share.
pub fn loader_threads(device: &Device, data: &dyn Dataset) -> usize {
    loader_threads_of(std::slice::from_ref(device), data)
}

/// As [`loader_threads`], beside several stages: on the processor they share its threads, beside GPUs all load for all.
pub(super) fn loader_threads_of(devices: &[Device], data: &dyn Dataset) -> usize {
    let on_processor = devices.iter().all(|d| matches!(d.kind(), DeviceKind::Cpu { .. }));
    let threads = devices.iter().map(Device::threads);
    match on_processor {
        true if data.streams() => threads.sum(),
        true => threads.sum::<usize>().div_ceil(4),
        false => threads.max().unwrap_or(1),
    }
}

/// [`loader_threads`] of them.
///
/// # Errors
/// When the system starts no threads.
pub fn loader_pool(device: &Device, data: &dyn Dataset) -> Result<LoaderPool> {
    loader_pool_of(std::slice::from_ref(device), data)
}

/// [`loader_threads_of`] of them.
pub(super) fn loader_pool_of(devices: &[Device], data: &dyn Dataset) -> Result<LoaderPool> {
    LoaderPool::new(loader_threads_of(devices, data), LoaderPool::AHEAD)
}

/// The augmentation of a recipe; `auto` is that of the set where its form says which it is, SVHN's where its images are
/// digits (by the names of classes, or of the set), and otherwise goes by the size fed to the network: up to 32 pixels CIFAR-10's, up to 96 STL-10's, above
/// ImageNet's (METHOD §8).
///
/// # Errors
/// When it does not fit the image size.
pub fn augmentation(d: &recipe::Data, splits: Option<&Splits>) -> Result<data::Augment> {
    let name = match d.augment {
        recipe::Augment::Auto => match splits.and_then(|s| s.known) {
            Some(Known::Cifar10 | Known::Cifar100) => "cifar",
            Some(Known::Svhn) => "svhn",
            Some(Known::Stl10) => "stl10",
            Some(Known::Imagenet) => "imagenet",
            None if splits.is_some_and(digits) => "svhn",
            None if d.size <= 32 => "cifar",
            None if d.size <= 96 => "stl10",
            None => "imagenet",
        },
        recipe::Augment::Imagenet => "imagenet",
        recipe::Augment::Cifar => "cifar",
        recipe::Augment::Svhn => "svhn",
        recipe::Augment::Stl10 => "stl10",
        recipe::Augment::None => "none",
    };
    let augment = data::Augment::preset(name).unwrap_or(data::Augment::None);
    augment.validate(d.size)?;
    Ok(augment)
}

/// Whether the classes are the ten digits, which must not be mirrored: they are called so, or the set is called SVHN (as
/// it comes in other forms than its own). Ten classes that only have numbers may be anything; what is called CIFAR is no
/// digits then, anything else is taken for some, since images that are not mirrored lose less than digits that are.
fn digits(splits: &Splits) -> bool {
    let classes = splits.train.classes();
    let numbered = classes.iter().enumerate().all(|(i, name)| *name == i.to_string());
    let called = |what: &str| splits.name.to_ascii_lowercase().contains(what);
    classes.len() == 10 && (called("svhn") || (numbered && !called("cifar")))
}

/// What a recipe for other images does to these that it should not: recipes name the augmentation of their own set.
pub fn unsuited(d: &recipe::Data, splits: &Splits) -> Option<String> {
    let mirrors = match augmentation(d, Some(splits)).ok()? {
        data::Augment::None => false,
        data::Augment::PadCrop { flip, .. } | data::Augment::RandomResizedCrop { flip, .. } => flip,
    };
    let of_digits = splits.known == Some(Known::Svhn) || (splits.known.is_none() && digits(splits));
    (mirrors && of_digits).then(|| {
        let what = "the images seem to be digits, and the recipe mirrors half of them (data.augment)";
        format!("{what}: take a recipe of their set, as bp-resnet32+svhn, or --set data.augment=auto")
    })
}

/// Images that are looked at for [`upscaled`].
const LOOKED_AT: usize = 8;

/// Whether the network sees images that are scaled up, by more than twice: that takes time and memory, and shows nothing more.
/// Networks that were trained on larger ones may want it.
pub fn upscaled(recipe: &Recipe, splits: &Splits) -> Option<String> {
    let (train, size) = (splits.train.as_ref(), recipe.data.size);
    let all: Vec<usize> = (0..train.len()).collect();
    let (mut scratch, mut largest) = (Vec::new(), [0, 0]);
    for &index in spread(&all, LOOKED_AT) {
        let image = train.image(index, &mut scratch).ok()?;
        largest = largest.max([image.height.min(image.width), image.height.max(image.width)]);
    }
    let [side, other] = largest;
    (recipe.model.init.is_none() && side > 0 && side * 2 < size).then(|| {
        format!(
            "images are {other}x{side}, and data.size = {size} scales them up: that costs time and memory and shows nothing more; \
             take data.size = {}, with a network for small images, as bp-resnet20",
            side.next_multiple_of(4).max(8)
        )
    })
}

/// Says which classes balanced sampling never draws, as they have no training images.
pub fn never_drawn(d: &recipe::Data, splits: &Splits) -> Option<String> {
    if !d.sampler.is_balanced() {
        return None;
    }
    let (train, classes) = (splits.train.as_ref(), splits.train.classes());
    let mut there = vec![false; classes.len()];
    (0..train.len()).for_each(|i| there.get_mut(train.label(i)).into_iter().for_each(|t| *t = true));
    let missing: Vec<&str> =
        classes.iter().zip(&there).filter(|(_, there)| !**there).map(|(c, _)| c.as_str()).collect();
    let more = if missing.len() > 3 { format!(" and {} more", missing.len() - 3) } else { String::new() };
    let named = missing.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    (!missing.is_empty()).then(|| {
        format!("data.sampler is \"balanced\", and these classes have no training images, so none is drawn: {named}{more}")
    })
}

/// The byte nearest to the mean, per channel: as good as 0 behind the normalisation.
pub fn mean_pixel(n: &MeanStd) -> [u8; 3] {
    n.mean.map(|m| (255.0 * m).round().clamp(0.0, 255.0) as u8)
}

/// The normalisation of a recipe; `auto` is that of the set where it is known (METHOD §8), and otherwise measures the
/// training images.
///
/// # Errors
/// When an image cannot be read.
pub fn normalisation(d: &recipe::Data, splits: &Splits) -> Result<MeanStd> {
    let name = match &d.normalise {
        recipe::Normalise::Values(v) => return Ok(*v),
        recipe::Normalise::Named(Statistics::Auto) => match splits.known {
            Some(Known::Cifar10) => "cifar",
            Some(Known::Svhn) => "svhn",
            Some(Known::Stl10) => "stl10",
            Some(Known::Imagenet) => "imagenet",
            // METHOD names none for CIFAR-100.
            Some(Known::Cifar100) | None => {
                let n = data::Normalise::measure(splits.train.as_ref())?;
                return Ok(from_data(n));
            }
        },
        recipe::Normalise::Named(Statistics::Cifar10) => "cifar",
        recipe::Normalise::Named(Statistics::Svhn) => "svhn",
        recipe::Normalise::Named(Statistics::Stl10) => "stl10",
        recipe::Normalise::Named(Statistics::Imagenet) => "imagenet",
    };
    match data::Normalise::preset(name) {
        Some(n) => Ok(from_data(n)),
        None => Err(Error::recipe("data.normalise", format!("no statistics called {name}"))),
    }
}

/// The statistics of a known data set, as recipes call it.
///
/// # Errors
/// When there is no such set; says which there are.
pub fn statistics(name: &str) -> Result<MeanStd> {
    let unknown = || {
        let message = format!("no statistics called `{name}`; there are cifar10, svhn, stl10 and imagenet");
        Error::recipe("data.normalise", message)
    };
    let preset = if name == "cifar10" { "cifar" } else { name };
    data::Normalise::preset(preset).map(from_data).ok_or_else(unknown)
}

/// As [`normalisation`], measured by the threads of `device`: others would outlive it.
pub(super) fn normalisation_on(device: &Device, d: &recipe::Data, splits: &Splits) -> Result<MeanStd> {
    device.scope(|| normalisation(d, splits)).unwrap_or_else(|| normalisation(d, splits))
}

fn from_data(n: data::Normalise) -> MeanStd {
    MeanStd { mean: n.mean.map(f64::from), std: n.std.map(f64::from) }
}

/// For the engine.
pub fn pixel_scale(n: &MeanStd) -> PixelScale {
    PixelScale { mean: n.mean.map(|x| x as f32), std: n.std.map(|x| x as f32) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Augment;

    #[test]
    fn auto_follows_a_known_set_and_a_given_name_does_not() {
        let of = |name| Augment::preset(name).unwrap();
        let mut d = recipe::Data { size: 32, ..recipe::Data::default() };
        let mut splits = data::synthetic::splits(0, 20, 10).unwrap();
        assert_eq!(augmentation(&d, None).unwrap(), of("cifar"));
        assert_eq!(augmentation(&d, Some(&splits)).unwrap(), of("cifar"));
        for (known, name) in [(Known::Svhn, "svhn"), (Known::Stl10, "stl10")] {
            splits.known = Some(known);
            assert_eq!(augmentation(&d, Some(&splits)).unwrap(), of(name));
        }
        d.augment = recipe::Augment::Cifar;
        assert_eq!(augmentation(&d, Some(&splits)).unwrap(), of("cifar"));
    }

    #[test]
    fn digits_are_never_mirrored_by_auto() {
        let names = |names: &[&str]| {
            let mut memory = data::Memory::new(names.iter().map(|n| (*n).to_owned()).collect());
            memory.push(data::ImageView { height: 1, width: 1, rgb: &[0; 3] }, 0).unwrap();
            std::sync::Arc::new(memory)
        };
        let digits = names(&["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        let animals = names(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
        let nine = names(&["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
        let splits = data::synthetic::splits(0, 20, 10).unwrap();
        for (name, train, size, preset) in [
            ("svhn", &animals, 32, "svhn"),
            ("SVHN-cropped", &digits, 32, "svhn"),
            ("mine", &digits, 32, "svhn"),
            ("mine", &digits, 64, "svhn"),
            ("mine", &animals, 32, "cifar"),
            ("mine", &nine, 32, "cifar"),
            ("cifar10-jpeg", &digits, 32, "cifar"),
        ] {
            let splits = Splits { name: name.into(), train: train.clone(), ..splits.clone() };
            let d = recipe::Data { size, ..recipe::Data::default() };
            let found = augmentation(&d, Some(&splits)).unwrap();
            assert_eq!(Some(found), Augment::preset(preset), "{name} {:?}", train.classes());
            // A recipe that mirrors them all the same is told of.
            assert_eq!(unsuited(&d, &splits), None);
            let d = recipe::Data { augment: recipe::Augment::Cifar, ..d };
            assert_eq!(unsuited(&d, &splits).is_some(), preset == "svhn", "{name}");
        }
    }

    #[test]
    fn classes_without_images_are_named_where_sampling_is_balanced() {
        let mut set = data::Memory::new(["a", "b", "c", "d", "e", "f"].map(String::from).to_vec());
        set.push(data::ImageView { height: 1, width: 1, rgb: &[1, 2, 3] }, 1).unwrap();
        let mut splits = data::synthetic::splits(0, 20, 10).unwrap();
        let balanced = recipe::Data { sampler: recipe::Sampler::Balanced, ..recipe::Data::default() };
        assert_eq!(never_drawn(&balanced, &splits), None);
        splits.train = std::sync::Arc::new(set);
        assert_eq!(never_drawn(&recipe::Data::default(), &splits), None);
        let said = never_drawn(&balanced, &splits).unwrap();
        assert!(said.ends_with("none is drawn: a, c, d and 2 more"), "{said}");
    }

    #[test]
    fn auto_takes_a_known_set_s_statistics_and_measures_others() {
        let mut splits = data::synthetic::splits(0, 20, 10).unwrap();
        let mut d = recipe::Data::default();
        let measured = from_data(data::Normalise::measure(splits.train.as_ref()).unwrap());
        for (known, name) in [
            (Known::Cifar10, "cifar10"),
            (Known::Svhn, "svhn"),
            (Known::Stl10, "stl10"),
            (Known::Imagenet, "imagenet"),
        ] {
            splits.known = Some(known);
            assert_eq!(normalisation(&d, &splits).unwrap(), statistics(name).unwrap());
            assert_ne!(normalisation(&d, &splits).unwrap(), measured);
        }
        for known in [None, Some(Known::Cifar100)] {
            splits.known = known;
            assert_eq!(normalisation(&d, &splits).unwrap(), measured);
        }
        d.normalise = recipe::Normalise::Named(Statistics::Imagenet);
        splits.known = Some(Known::Svhn);
        assert_eq!(normalisation(&d, &splits).unwrap(), statistics("imagenet").unwrap());
    }
}
