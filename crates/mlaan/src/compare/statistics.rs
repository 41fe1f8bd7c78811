//! Means over seeds, and whether two methods differ.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Mean and spread of a few values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Values.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Standard deviation of the sample (divided by n - 1); none for a single value.
    pub sd: Option<f64>,
}

/// A paired t-test: the same seeds under two methods.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Pairs.
    pub n: usize,
    /// Mean difference, first minus second.
    pub difference: f64,
    /// Standard deviation of the differences.
    pub sd: f64,
    /// The t statistic, with n - 1 degrees of freedom; none where all differences are equal.
    pub t: Option<f64>,
    /// Two-sided probability of a |t| as large if the methods did not differ; none where all differences are equal.
    pub p: Option<f64>,
    /// The same, corrected for all tests of its table's column (Holm).
    pub p_holm: Option<f64>,
    /// Half the width of the difference's 95 % confidence interval.
    pub half_width: f64,
}

impl Moments {
    /// Of values that are numbers; none without any.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 || values.iter().any(|v| !v.is_finite()) {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        Some(Moments { n, mean, sd: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()) })
    }
}

impl Paired {
    /// Of values that belong together in pairs; none for fewer than two pairs or what is not a number.
    pub fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let differences: Vec<f64> = pairs.iter().map(|(a, b)| a - b).collect();
        let Moments { n, mean: difference, sd: Some(sd) } = Moments::of(&differences)? else { return None };
        let error = sd / (n as f64).sqrt();
        let t = (error > 0.0).then(|| difference / error);
        let distribution = StudentsT::new(0.0, 1.0, (n - 1) as f64).ok()?;
        let p = t.map(|t| 2.0 * distribution.cdf(-t.abs()));
        let half_width = error * distribution.inverse_cdf(0.975);
        Some(Paired { n, difference, sd, t, p, p_holm: None, half_width })
    }
}

/// The |t| beyond which a two-sided test of `n` pairs calls a difference significant at 5 %, as a multiple of the
/// differences' standard deviation. With three pairs it is 2.5: only large differences are seen.
pub fn visible(n: usize) -> Option<f64> {
    let degrees = n.checked_sub(1).filter(|d| *d > 0)?;
    // Beyond it is the normal distribution's to six digits, and its search may not end.
    let distribution = StudentsT::new(0.0, 1.0, degrees.min(1 << 20) as f64).ok()?;
    Some(distribution.inverse_cdf(0.975) / (n as f64).sqrt())
}

/// Holm's correction of several tests.
pub fn holm(tests: &mut [&mut Paired]) {
    let mut order: Vec<usize> =
        (0..tests.len()).filter(|&i| tests.get(i).is_some_and(|t| t.p.is_some())).collect();
    let p = |tests: &[&mut Paired], i: usize| tests.get(i).and_then(|t| t.p).unwrap_or(1.0);
    order.sort_by(|&a, &b| p(tests, a).total_cmp(&p(tests, b)));
    let (count, mut least) = (order.len(), 0.0_f64);
    for (rank, &i) in order.iter().enumerate() {
        least = least.max(p(tests, i) * (count - rank) as f64).min(1.0);
        if let Some(test) = tests.get_mut(i) {
            test.p_holm = Some(least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To a relative 1e-9.
    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * b.abs().max(1e-300)
    }

    #[test]
    fn moments() {
        let m = Moments::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!((m.n, m.mean), (8, 5.0));
        assert!(close(m.sd.unwrap(), (32.0_f64 / 7.0).sqrt()));
        assert_eq!(Moments::of(&[3.0]).unwrap().sd, None);
        assert_eq!(Moments::of(&[]), None);
        assert_eq!(Moments::of(&[1.0, f64::NAN]), None);
    }

    /// With two degrees of freedom P(|T| > t) = 1 - t / sqrt(t² + 2), with one 1 - 2/π·atan(t): no library is asked.
    #[test]
    fn p_values_have_their_closed_forms() {
        let p = Paired::of(&[(10.0, 9.0), (11.0, 9.5), (12.0, 9.5)]).unwrap();
        let t = p.t.unwrap();
        let error = (1.75_f64 / 3.0 / 3.0).sqrt();
        assert!((p.difference - 5.0 / 3.0).abs() < 1e-12 && p.sd > 0.0 && error > 0.0);
        assert!(close(p.p.unwrap(), 1.0 - t / (t * t + 2.0).sqrt()), "{p:?}");
        let two = Paired::of(&[(3.0, 1.0), (4.0, 1.0)]).unwrap();
        let (t, expected) = (two.t.unwrap(), |t: f64| 1.0 - 2.0 / std::f64::consts::PI * t.atan());
        assert!(close(t, 5.0) && close(two.p.unwrap(), expected(t)), "{two:?}");
        // t of 0.975 with one degree of freedom is tan(0.475 π).
        assert!(close(two.half_width, 0.5 * (0.475 * std::f64::consts::PI).tan()), "{two:?}");
    }

    #[test]
    fn equal_differences_have_no_probability() {
        let p = Paired::of(&[(2.0, 1.0), (3.0, 2.0)]).unwrap();
        assert_eq!((p.difference, p.t, p.p), (1.0, None, None));
        assert_eq!(Paired::of(&[(2.0, 1.0)]), None);
        assert_eq!(Paired::of(&[(2.0, 1.0), (f64::NAN, 1.0)]), None);
    }

    #[test]
    fn three_pairs_see_little() {
        assert!((visible(3).unwrap() - 4.302_652_73 / 3.0_f64.sqrt()).abs() < 1e-7);
        assert_eq!(visible(1), None);
    }

    #[test]
    fn holm_multiplies_the_smallest_most_and_never_falls() {
        let of = |p: Option<f64>| Paired { p, ..Paired::of(&[(3.0, 1.0), (4.0, 1.0)]).unwrap() };
        let mut tests = [of(Some(0.01)), of(Some(0.04)), of(None), of(Some(0.03)), of(Some(0.5))];
        holm(&mut tests.iter_mut().collect::<Vec<_>>());
        let found: Vec<Option<f64>> = tests.iter().map(|t| t.p_holm).collect();
        assert_eq!(found, [Some(0.04), Some(0.09), None, Some(0.09), Some(0.5)]);
    }

    #[test]
    fn any_number_of_pairs_is_answered() {
        assert!((visible(3).unwrap() - 4.302_652_73 / 3f64.sqrt()).abs() < 1e-6);
        for n in [1_000, 1_000_000, 10_000_000_000, usize::MAX] {
            assert!((visible(n).unwrap() * (n as f64).sqrt() - 1.96).abs() < 0.01, "{n}");
        }
    }
}
