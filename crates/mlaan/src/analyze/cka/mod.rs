//! Linear centred kernel alignment of two networks, place by place (Kornblith et al., ICML 2019), with the minibatch
//! estimator of Nguyen et al. (ICLR 2021): the unbiased HSIC of Song et al. (JMLR 2012) is averaged over minibatches
//! before the quotient is taken, so its expectation does not depend on their size.
//!
//! Values are flattened, not pooled. Of a minibatch only the products of its images with each other are kept per
//! place, so memory does not grow with the images.

mod gram;

pub use gram::Gram;

use super::{Place, Seen, Subject};
use crate::data::Batch;
use crate::{Error, Result};
use mlaan_engine::Tensor;
use serde::{Deserialize, Serialize};

/// How alike the places of two networks are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cka {
    /// What the other network is called.
    pub against: String,
    /// Images of a minibatch.
    pub minibatch: usize,
    /// Images seen; those of a last, smaller minibatch are left out.
    pub images: usize,
    /// Rows: places of this network.
    pub places: Vec<Place>,
    /// Columns: places of the other.
    pub against_places: Vec<Place>,
    /// 1 for values that are the same up to rotation and scale, about 0 for unrelated ones; none where one of the
    /// places tells no images apart.
    pub matrix: Vec<Vec<Option<f64>>>,
    /// Mean over places of the same number, where both networks have as many.
    pub mean: Option<f64>,
}

/// Sums of HSIC over minibatches.
struct Sums {
    own: Vec<f64>,
    other: Vec<f64>,
    cross: Vec<Vec<f64>>,
    batches: usize,
}

/// Compares every place of `subject` with every place of `other` over the images of `seen`, shuffled (always alike) into
/// minibatches of `seen.batch`.
///
/// # Errors
/// Fewer than four images; networks for images of different sizes; anything from data or device.
pub fn cka(subject: &mut Subject, other: &mut Subject, seen: &Seen<'_>) -> Result<Cka> {
    let minibatch = seen.batch.min(seen.data.len());
    if minibatch < Gram::LEAST {
        let message = format!("{minibatch} images at a time: CKA needs at least {}", Gram::LEAST);
        return Err(Error::data("cka", message));
    }
    let size = subject.manifest.size;
    if other.manifest.size != size {
        let message = format!(
            "{} was trained on images of {size} pixels and {} of {}: CKA needs the same images",
            subject.name, other.name, other.manifest.size
        );
        return Err(Error::data("cka", message));
    }
    let mut sums: Option<Sums> = None;
    Seen { batch: minibatch, ..*seen }.each(subject.frame(), true, &mut |batch| {
        if batch.len() == minibatch {
            let (own, others) = (grams(subject, batch)?, grams(other, batch)?);
            sums.get_or_insert_with(|| Sums::new(own.len(), others.len())).add(&own, &others);
        }
        Ok(())
    })?;
    let sums = sums.unwrap_or_else(|| Sums::new(0, 0));
    let matrix = sums.quotients();
    let alike = subject.places.len() == other.places.len();
    let mean = || {
        let diagonal: Option<Vec<f64>> = matrix.iter().enumerate().map(|(i, row)| row[i]).collect();
        diagonal.filter(|d| !d.is_empty()).map(|d| d.iter().sum::<f64>() / d.len() as f64)
    };
    Ok(Cka {
        against: other.name.clone(),
        minibatch,
        images: sums.batches * minibatch,
        places: subject.places.clone(),
        against_places: other.places.clone(),
        mean: if alike { mean() } else { None },
        matrix,
    })
}

/// What a network makes of a minibatch at each place.
fn grams(subject: &mut Subject, batch: &Batch) -> Result<Vec<Gram>> {
    let device = subject.learner.device().clone();
    let images = subject.to_device(batch)?;
    let mut grams = Vec::with_capacity(subject.places.len());
    subject.learner.infer_seen(images, &mut |_, x: &Tensor| {
        grams.push(Gram::of(&device, x)?);
        Ok(())
    })?;
    Ok(grams)
}

impl Sums {
    fn new(own: usize, other: usize) -> Self {
        Sums { own: vec![0.0; own], other: vec![0.0; other], cross: vec![vec![0.0; other]; own], batches: 0 }
    }

    fn add(&mut self, own: &[Gram], other: &[Gram]) {
        self.own.iter_mut().zip(own).for_each(|(s, g)| *s += g.hsic(g));
        self.other.iter_mut().zip(other).for_each(|(s, g)| *s += g.hsic(g));
        for (row, a) in self.cross.iter_mut().zip(own) {
            row.iter_mut().zip(other).for_each(|(s, b)| *s += a.hsic(b));
        }
        self.batches += 1;
    }

    fn quotients(&self) -> Vec<Vec<Option<f64>>> {
        let quotient = |cross: f64, a: f64, b: f64| {
            let scale = a.sqrt() * b.sqrt();
            (scale > 0.0 && scale.is_finite()).then(|| cross / scale)
        };
        let row = |(cross, &a): (&Vec<f64>, &f64)| {
            cross.iter().zip(&self.other).map(|(&c, &b)| quotient(c, a, b)).collect()
        };
        self.cross.iter().zip(&self.own).map(row).collect()
    }
}
