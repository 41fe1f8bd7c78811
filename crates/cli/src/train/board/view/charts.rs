//! Curves of accuracy and loss over the epochs.

use super::super::curve::Curve;
use super::super::state::Curves;
use super::super::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Widget};

/// Columns that two charts side by side need.
const BOTH: u16 = 56;

/// Draws accuracy and, where there is room, loss beside it.
pub fn draw((curves, held): (&Curves, &str), theme: &Theme, area: Rect, buf: &mut Buffer) {
    let two = area.width >= BOTH;
    let halves = [Constraint::Fill(1), Constraint::Fill(u16::from(two))];
    let [left, right] = Layout::horizontal(halves).areas(area);
    chart("accuracy %", &curves.accuracy, Some((&curves.test, held)), theme, left, buf);
    if two {
        chart("loss", &curves.loss, None, theme, right, buf);
    }
}

fn chart(
    title: &str,
    train: &Curve,
    held: Option<(&Curve, &str)>,
    theme: &Theme,
    area: Rect,
    buf: &mut Buffer,
) {
    let columns = usize::from(area.width);
    let (train, test) = (train.at_most(columns), held.map_or_else(Vec::new, |(t, _)| t.at_most(columns)));
    let name = held.map_or("", |(_, name)| name);
    let last = |points: &[(f64, f64)]| points.last().map_or("–".into(), |p| digits(p.1));
    let mut title = vec![
        Span::styled(format!(" {title} "), theme.strong),
        Span::styled(format!("⠒ train {} ", last(&train)), theme.train),
    ];
    if !test.is_empty() {
        title.push(Span::styled(format!("• {name} {} ", last(&test)), theme.test));
    }
    let block = Block::bordered().border_style(theme.faint).title(Line::from(title));
    let all = || train.iter().chain(&test);
    let end = all().map(|p| p.0).fold(0.0, f64::max).max(0.1);
    let ticks = ticks(all().map(|p| p.1));
    let y = [ticks[0], ticks[ticks.len() - 1]];
    let axis = |bounds, labels: Vec<String>| Axis::default().bounds(bounds).labels(labels).style(theme.faint);
    let sets = vec![
        set(&train, theme.train).marker(Marker::Braille).graph_type(GraphType::Line),
        set(&test, theme.test).marker(Marker::Dot).graph_type(GraphType::Scatter),
    ];
    Chart::new(sets)
        .block(block)
        .legend_position(None)
        .x_axis(axis([0.0, end], vec!["0".into(), format!("epoch {}", digits(end))]))
        .y_axis(axis(y, labels(&ticks)))
        .render(area, buf);
}

fn set(points: &[(f64, f64)], style: ratatui::style::Style) -> Dataset<'_> {
    Dataset::default().data(points).style(style)
}

/// Round numbers at even distances that enclose the values; two at least.
fn ticks(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    if low > high {
        return vec![0.0, 1.0];
    }
    let span = (high - low).max(high.abs() * 1e-3).max(1e-6);
    let power = 10f64.powf((span / 3.0).log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| span / s <= 4.0);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((low / step).floor(), (high / step).ceil().max((low / step).floor() + 1.0));
    (0..=(last - first) as usize).map(|i| (first + i as f64) * step).collect()
}

/// With as many decimals as the one that needs most.
fn labels(ticks: &[f64]) -> Vec<String> {
    let whole = |d: i32| ticks.iter().map(|t| t * 10f64.powi(d)).all(|t| (t - t.round()).abs() < 1e-6);
    let decimals = (0..6).find(|d| whole(*d)).unwrap_or(6) as usize;
    ticks.iter().map(|t| format!("{t:.decimals$}")).collect()
}

fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 || v == v.round() => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_enclose() {
        let of = |v: &[f64]| ticks(v.iter().copied());
        assert_eq!(of(&[12.0, 88.0]), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(of(&[]), [0.0, 1.0]);
        assert_eq!(labels(&of(&[1.55, 2.45])), ["1.50", "1.75", "2.00", "2.25", "2.50"]);
        for values in [vec![5.0], vec![0.0], vec![1e-9, 2e-9], vec![-3.0, 1e12], vec![6.01, 6.02]] {
            let ticks = of(&values);
            assert!((2..=7).contains(&ticks.len()), "{values:?}: {ticks:?}");
            assert!(ticks[0] <= values[0] && ticks[ticks.len() - 1] >= values[values.len() - 1], "{ticks:?}");
        }
    }
}
