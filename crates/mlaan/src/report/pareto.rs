//! What methods cost for the error they reach, and which of them no other beats in both (the Pareto front).

use super::html::curve;
use crate::Result;
use crate::compare::{CellOutcome, Comparison, Cost};
use crate::plot::{Lines, Series};
use maud::Markup;

/// Methods from which on a front says more than the table.
const FEWEST: usize = 3;
/// The style of the front: grey.
const FRONT: usize = 6;

/// What is set against the error: title, axis, value.
type What = (&'static str, &'static str, fn(&Cost) -> f64);

const ALL: [What; 2] = [
    ("Test error and operations", "operations of a step, × backpropagation", |c| {
        c.flops / c.plain_flops.max(1.0)
    }),
    ("Test error and memory", "memory of a step, planned, × backpropagation", |c| {
        c.memory_bytes as f64 / c.plain_memory_bytes.max(1) as f64
    }),
];

/// The methods of a column by error and cost; nothing of fewer than three. `of` says of what.
///
/// # Errors
/// When a plot cannot be drawn.
pub fn pareto(found: &Comparison, cells: &[(usize, &CellOutcome)], of: &str) -> Result<Vec<Markup>> {
    let known = || cells.iter().filter_map(|(_, c)| Some((*c, c.test_error?.mean)));
    if known().count() < FEWEST {
        return Ok(Vec::new());
    }
    let plot = |(title, x, cost): &What| {
        let points: Vec<(f64, f64)> = known().map(|(c, error)| (cost(&c.cost), error)).collect();
        let methods = known().zip(&points).enumerate().map(|(i, ((c, _), &point))| Series {
            name: found.row_title(c),
            points: vec![point],
            filled: vec![true],
            // The front's is no method's.
            style: Some(i + i / FRONT),
            ..Series::default()
        });
        let front = Series {
            name: "Pareto front".into(),
            points: front(&points),
            dashed: true,
            style: Some(FRONT),
            ..Series::default()
        };
        let lines = Lines {
            title: format!("{title}{of}"),
            x: (*x).into(),
            y: "test error, %".into(),
            markers: true,
            series: std::iter::once(front).chain(methods).collect(),
            ..Lines::default()
        };
        curve(
            &lines,
            "Lower and further to the left is better: no method costs less than one on the front and has a smaller error. Errors are means \
             over the seeds after the last epoch, of the test images, so this is not to choose by; differences within their spread say \
             nothing.",
        )
    };
    ALL.iter().map(plot).collect()
}

/// Of points (cost, error) those that no other one beats in both, by cost.
fn front(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut sorted: Vec<(f64, f64)> =
        points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut least = f64::INFINITY;
    sorted.retain(|&(_, error)| {
        let better = error < least;
        least = least.min(error);
        better
    });
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_holds_what_no_other_beats_in_both() {
        let points =
            [(1.0, 29.1), (4.7, 30.0), (1.2, 39.5), (0.4, 42.0), (1.0, 35.0), (0.4, f64::NAN), (0.3, 50.0)];
        assert_eq!(front(&points), [(0.3, 50.0), (0.4, 42.0), (1.0, 29.1)]);
        assert!(front(&[]).is_empty());
    }
}
