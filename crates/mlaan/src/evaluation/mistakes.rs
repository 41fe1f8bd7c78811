//! The images that a network is most wrong about.

use super::guess::Guess;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// An image that was taken for another class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Which one of the data set, from 0.
    pub index: usize,
    /// Its file, or where in one it lies, as far as the set still knows.
    pub image: Option<String>,
    /// Its class.
    pub class: String,
    /// What it is taken for; none where a logit is no number.
    pub predicted: Option<String>,
    /// The probability of that, percent; none where there are no probabilities.
    pub confidence: Option<f64>,
    /// Its cross-entropy.
    #[serde(deserialize_with = "crate::numbers::number")]
    pub loss: f64,
}

/// One of [`Worst`].
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Which image.
    pub index: usize,
    /// Its class.
    pub label: usize,
    /// What it is taken for.
    pub guess: Guess,
}

/// The mistakes with the highest loss, at most a number of them.
#[derive(Clone, Debug)]
pub struct Worst {
    most: usize,
    /// Highest loss first.
    entries: Vec<Entry>,
}

/// Highest loss first, one that is no number before all; the earlier of equals first.
fn order(a: &Entry, b: &Entry) -> Ordering {
    let loss = |e: &Entry| if e.guess.loss.is_nan() { f64::INFINITY } else { e.guess.loss };
    let nan = |e: &Entry| e.guess.loss.is_nan();
    loss(b).total_cmp(&loss(a)).then(nan(b).cmp(&nan(a))).then(a.index.cmp(&b.index))
}

impl Worst {
    /// Keeps at most `most`.
    pub fn new(most: usize) -> Self {
        Worst { most, entries: Vec::new() }
    }

    /// Takes an image's answer, if it is a mistake and among the worst so far.
    pub fn add(&mut self, entry: Entry) {
        if entry.guess.rank == 0 {
            return;
        }
        let at = self.entries.partition_point(|e| order(e, &entry) == Ordering::Less);
        if at >= self.most {
            return;
        }
        if self.entries.len() == self.most {
            self.entries.pop();
        }
        self.entries.insert(at, entry);
    }

    /// Them, with the names of classes, and of images by `image`.
    pub fn named(self, classes: &[String], image: &dyn Fn(usize) -> Option<String>) -> Vec<Mistake> {
        let name = |class: usize| classes.get(class).cloned();
        let one = |e: Entry| Mistake {
            index: e.index,
            image: image(e.index),
            class: name(e.label).unwrap_or_default(),
            predicted: e.guess.class.and_then(name),
            confidence: Some(100.0 * e.guess.confidence).filter(|c| c.is_finite()),
            loss: e.guess.loss,
        };
        self.entries.into_iter().map(one).collect()
    }
}
