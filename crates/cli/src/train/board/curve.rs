//! A curve of bounded size: the more points come, the more of them a kept one stands for.

/// Points that are kept at most.
const MOST: usize = 1024;

/// Points `(x, y)` with rising `x`, each the mean of equally many that were pushed.
#[derive(Clone, Debug)]
pub struct Curve {
    points: Vec<(f64, f64)>,
    per: usize,
    pending: (f64, f64, usize),
}

impl Default for Curve {
    fn default() -> Self {
        Curve { points: Vec::new(), per: 1, pending: (0.0, 0.0, 0) }
    }
}

impl Curve {
    /// Adds a point; one that is not finite is left out.
    pub fn push(&mut self, x: f64, y: f64) {
        if !y.is_finite() || !x.is_finite() {
            return;
        }
        let (sx, sy, n) = self.pending;
        let (sx, sy, n) = (sx + x, sy + y, n + 1);
        if n < self.per {
            self.pending = (sx, sy, n);
            return;
        }
        self.points.push((sx / n as f64, sy / n as f64));
        self.pending = (0.0, 0.0, 0);
        if self.points.len() >= MOST {
            self.points = self.points.chunks(2).map(mean).collect();
            self.per *= 2;
        }
    }

    /// What is kept.
    #[cfg(test)]
    pub fn points(&self) -> &[(f64, f64)] {
        &self.points
    }

    /// At most `most` points, means of neighbours: what a plot of so few columns can show.
    pub fn at_most(&self, most: usize) -> Vec<(f64, f64)> {
        self.points.chunks(self.points.len().div_ceil(most.max(1)).max(1)).map(mean).collect()
    }
}

fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len().max(1) as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
    (x / n, y / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_curve_keeps_its_shape_in_few_points() {
        let mut curve = Curve::default();
        let n = 100_000;
        for i in 0..n {
            curve.push(f64::from(i), 3.0 * f64::from(i) + 1.0);
        }
        let points = curve.points();
        assert!((MOST / 2 - 1..MOST).contains(&points.len()), "{}", points.len());
        // Means of a straight line lie on it.
        assert!(points.iter().all(|(x, y)| (3.0 * x + 1.0 - y).abs() < 1e-6));
        assert!(points.windows(2).all(|w| w[0].0 < w[1].0));
        assert!(points[0].0 < 200.0 && points[points.len() - 1].0 > f64::from(n) - 300.0);
        assert_eq!(curve.at_most(10).len(), 10);
    }

    #[test]
    fn what_is_not_finite_leaves_no_trace() {
        let mut curve = Curve::default();
        for y in [1.0, f64::NAN, f64::INFINITY, 2.0] {
            curve.push(curve.points().len() as f64, y);
        }
        assert_eq!(curve.points(), [(0.0, 1.0), (1.0, 2.0)]);
        assert!(Curve::default().at_most(0).is_empty());
    }
}
