//! How far confidence is from accuracy: expected calibration error (Guo et al., ICML 2017).

use serde::{Deserialize, Serialize};

/// Bins of equal width between 0 and 1.
pub const BINS: usize = 15;

/// Images whose confidence lies in one bin: above its lower edge, up to its upper one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Images.
    pub images: usize,
    /// Right ones among them, percent; none without images.
    pub accuracy: Option<f64>,
    /// Their mean confidence, percent; none without images.
    pub confidence: Option<f64>,
}

/// Sums of one bin.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    images: usize,
    right: usize,
    confidence: f64,
}

/// Images by their confidence.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    bins: [Sums; BINS],
    /// Images without a confidence.
    undefined: usize,
}

impl Calibration {
    /// Adds an image whose guess has this probability.
    pub fn add(&mut self, confidence: f64, right: bool) {
        let upper = |bin: &usize| confidence <= (bin + 1) as f64 / BINS as f64;
        let Some(bin) = (0..BINS).find(upper) else {
            self.undefined += 1;
            return;
        };
        let bin = &mut self.bins[bin];
        bin.images += 1;
        bin.right += usize::from(right);
        bin.confidence += confidence;
    }

    /// The expected calibration error, percent; none without images and where one has no confidence.
    pub fn error(&self) -> Option<f64> {
        let images: usize = self.bins.iter().map(|b| b.images).sum();
        let apart: f64 = self.bins.iter().map(|b| (b.right as f64 - b.confidence).abs()).sum();
        (images > 0 && self.undefined == 0).then(|| 100.0 * apart / images as f64)
    }

    /// The bins, from 0 to 1.
    pub fn bins(&self) -> Vec<Bin> {
        let mean = |sum: f64, n: usize| (n > 0).then(|| 100.0 * sum / n as f64);
        let bin = |b: &Sums| Bin {
            images: b.images,
            accuracy: mean(b.right as f64, b.images),
            confidence: mean(b.confidence, b.images),
        };
        self.bins.iter().map(bin).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_belong_to_the_bin_below() {
        let mut all = Calibration::default();
        for (confidence, right) in [(1.0 / 3.0, true), (0.34, false), (1.0, true), (1.0, false), (0.2, false)]
        {
            all.add(confidence, right);
        }
        let bins = all.bins();
        let at: Vec<usize> = (0..BINS).filter(|&b| bins[b].images > 0).collect();
        assert_eq!(at, [2, 4, 5, 14]);
        assert_eq!((bins[14].images, bins[14].accuracy, bins[14].confidence), (2, Some(50.0), Some(100.0)));
        let apart = [2.0 / 3.0, 0.34, 1.0, 0.2].iter().sum::<f64>();
        assert!((all.error().unwrap() - 100.0 * apart / 5.0).abs() < 1e-12);
    }

    #[test]
    fn without_confidence_there_is_no_error() {
        let mut all = Calibration::default();
        assert_eq!(all.error(), None);
        all.add(0.9, true);
        all.add(f64::NAN, false);
        assert_eq!(all.error(), None);
    }
}
