//! Counts guesses, image after image.

use super::calibration::Calibration;
use super::classes::{average, scores};
use super::confusion::{Confusion, Pair};
use super::found::Evaluation;
use super::guess::Guess;
use super::mistakes::{Entry, Mistake, Worst};

/// Guesses that count for top-5 accuracy; with no more classes than these it would be 100 %.
const TOP: usize = 5;
/// Bytes of a class: its scores, its counts and its name.
const CLASS: usize = size_of::<super::ClassScores>() + 3 * size_of::<usize>() + 64;
/// Bytes of a mistake: its names, and the two classes'.
const MISTAKE: usize = size_of::<Mistake>() + size_of::<Entry>() + 192;

/// Takes logits, gives an [`Evaluation`].
#[derive(Clone, Debug)]
pub struct Meter {
    /// Outputs of the classifier.
    outputs: usize,
    /// Per class.
    images: Vec<usize>,
    wrong: usize,
    beyond_top: usize,
    undefined: usize,
    loss: f64,
    calibration: Calibration,
    worst: Worst,
    /// Class and guess of every image: of many classes much less than a matrix.
    guesses: Vec<(u32, Option<u32>)>,
}

impl Meter {
    /// For a classifier of `classes` classes and about `images` images; keeps the worst `mistakes`.
    pub fn new(classes: usize, images: usize, mistakes: usize) -> Self {
        Meter {
            outputs: classes,
            images: vec![0; classes],
            wrong: 0,
            beyond_top: 0,
            undefined: 0,
            loss: 0.0,
            calibration: Calibration::default(),
            worst: Worst::new(mistakes.min(images)),
            guesses: Vec::with_capacity(images),
        }
    }

    /// Bytes that such a meter and what becomes of it hold at the most.
    pub fn bytes(classes: usize, images: usize, mistakes: usize) -> usize {
        let pairs = images.min(classes.saturating_mul(classes));
        // A list that grows has up to twice the room, and while it moves the old one beside it.
        images * size_of::<(u32, Option<u32>)>()
            + 3 * pairs * size_of::<Pair>()
            + classes * CLASS
            + mistakes.min(images) * MISTAKE
    }

    /// Adds image `index` of class `label`, with the logits of all classes. A label that is none is left out.
    pub fn add(&mut self, index: usize, logits: &[f32], label: usize) {
        let (Some(images), Ok(class)) = (self.images.get_mut(label), u32::try_from(label)) else { return };
        *images += 1;
        let guess = Guess::of(logits, label);
        self.wrong += usize::from(guess.rank > 0);
        self.beyond_top += usize::from(guess.rank >= TOP);
        self.undefined += usize::from(guess.class.is_none());
        self.loss += guess.loss;
        self.calibration.add(guess.confidence, guess.rank == 0);
        self.worst.add(Entry { index, label, guess });
        self.guesses.push((class, guess.class.and_then(|c| u32::try_from(c).ok())));
    }

    /// What was found, with the names of the classes, and those of images where `image` knows them.
    pub fn finish(self, names: &[String], image: &dyn Fn(usize) -> Option<String>) -> Evaluation {
        // Outputs that nobody named are called by their numbers.
        let name = |i: usize| names.get(i).cloned().unwrap_or_else(|| i.to_string());
        let names: Vec<String> = (0..self.outputs).map(name).collect();
        let images = self.guesses.len();
        let percent = |of: usize| 100.0 * of as f64 / images.max(1) as f64;
        let beyond = (self.outputs > TOP).then_some(self.beyond_top);
        let mistakes = self.worst.named(&names, image);
        let confusion = Confusion::count(self.guesses);
        let classes = scores(names, &self.images, &confusion);
        Evaluation {
            images,
            accuracy: percent(images - self.wrong),
            error: percent(self.wrong),
            top5_accuracy: beyond.map(|n| percent(images - n)),
            top5_error: beyond.map(percent),
            loss: self.loss / images as f64,
            calibration_error: self.calibration.error(),
            undefined: self.undefined,
            macro_average: average(&classes, |_| 1.0),
            weighted_average: average(&classes, |c| c.images as f64),
            classes,
            confusion,
            calibration: self.calibration.bins(),
            mistakes,
        }
    }
}
