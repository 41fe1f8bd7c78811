//! What the logits of one image say of its class.

/// A network's answer to one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guess {
    /// The rank of the image's class among the logits, 0 the best.
    pub rank: usize,
    /// The class with the largest logit; none where one of them is no number.
    pub class: Option<usize>,
    /// Cross-entropy: `-ln` of the probability of the image's class; NaN where there are no probabilities.
    pub loss: f64,
    /// The probability of the guess, from 0 to 1; NaN likewise.
    pub confidence: f64,
}

impl Guess {
    /// Of an image of class `label`.
    pub fn of(logits: &[f32], label: usize) -> Self {
        let undefined =
            Guess { rank: rank(logits, label), class: None, loss: f64::NAN, confidence: f64::NAN };
        let mut best = (0, f32::NEG_INFINITY);
        for (class, &logit) in logits.iter().enumerate() {
            if logit.is_nan() {
                return undefined;
            }
            if logit > best.1 {
                best = (class, logit);
            }
        }
        let (class, largest) = (Some(best.0), f64::from(best.1));
        if !largest.is_finite() {
            return Guess { class, ..undefined };
        }
        let sum: f64 = logits.iter().map(|&x| (f64::from(x) - largest).exp()).sum();
        let own = logits.get(label).map_or(f64::NAN, |&x| f64::from(x) - largest);
        Guess { class, loss: sum.ln() - own, confidence: 1.0 / sum, ..undefined }
    }
}

/// The rank of the label among the logits, 0 the best; the first of equals wins, and a network whose logits are not
/// numbers is always wrong.
pub fn rank(logits: &[f32], label: usize) -> usize {
    let own = logits.get(label).copied().unwrap_or(f32::NAN);
    let better = |(k, &x): (usize, &f32)| x > own || (x == own && k < label) || x.is_nan();
    if own.is_nan() { logits.len() } else { logits.iter().enumerate().filter(|&p| better(p)).count() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_the_first_of_equals_and_distrust_nan() {
        let up = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!([6, 2, 1].map(|label| rank(&up, label)), [0, 4, 5]);
        assert_eq!([0, 3].map(|label| rank(&[1.0; 7], label)), [0, 3]);
        assert_eq!([0, 1].map(|label| rank(&[f32::NAN, 1.0, 0.0], label)), [3, 1]);
    }

    #[test]
    fn a_guess_is_the_first_of_the_largest() {
        let of = |logits: &[f32], label| Guess::of(logits, label);
        let equal = of(&[1.0; 4], 2);
        assert_eq!((equal.class, equal.rank, equal.confidence), (Some(0), 2, 0.25));
        assert!((equal.loss - 4f64.ln()).abs() < 1e-15);
        let one = of(&[-3.0], 0);
        assert_eq!((one.class, one.rank, one.loss, one.confidence), (Some(0), 0, 0.0, 1.0));
        // Far beyond what `exp` holds.
        let sure = of(&[1e30, -1e30], 1);
        assert_eq!((sure.class, sure.confidence), (Some(0), 1.0));
        assert!((sure.loss / 2e30 - 1.0).abs() < 1e-6);
    }

    #[test]
    fn logits_without_probabilities_have_no_loss() {
        let nan = Guess::of(&[1.0, f32::NAN], 0);
        assert_eq!((nan.class, nan.rank), (None, 1));
        let high = Guess::of(&[1.0, f32::INFINITY], 1);
        assert_eq!((high.class, high.rank), (Some(1), 0));
        let low = Guess::of(&[f32::NEG_INFINITY; 2], 0);
        assert_eq!((low.class, low.rank), (Some(0), 0));
        for guess in [nan, high, low] {
            assert!(guess.loss.is_nan() && guess.confidence.is_nan(), "{guess:?}");
        }
        // One class that is ruled out is a probability, of 0.
        let out = Guess::of(&[0.0, f32::NEG_INFINITY], 1);
        assert_eq!((out.loss, out.confidence), (f64::INFINITY, 1.0));
    }
}
