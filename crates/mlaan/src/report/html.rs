//! Pieces of the page: tables and figures.

use crate::Result;
use crate::compare::Sheet;
use crate::plot::{Bar, Bars, Lines, colour};
use maud::{Markup, PreEscaped, html};

/// A table that scrolls inside the page where it is wide. Columns that begin with `>` hold numbers; the first one heads
/// its row.
pub fn table(sheet: &Sheet) -> Markup {
    let number = |i: usize| sheet.header.get(i).is_some_and(|h| h.starts_with('>'));
    let class = |i: usize| number(i).then_some("number");
    html! {
        div.scroll tabindex="0" role="region" aria-label=(sheet.title) {
            table {
                caption { span { (sheet.title) } }
                thead { tr { @for (i, h) in sheet.header.iter().enumerate() {
                    th scope="col" class=[class(i)] { (h.trim_start_matches('>')) }
                } } }
                tbody { @for row in &sheet.rows { tr { @for (i, cell) in row.iter().enumerate() {
                    @if i == 0 { th scope="row" { (cell) } } @else { td class=[class(i)] { (cell) } }
                } } } }
            }
        }
    }
}

/// A plot, what it shows, and its numbers.
pub fn figure(svg: String, about: &str, numbers: &Sheet) -> Markup {
    drawn(html! { div.plot { (PreEscaped(svg)) } }, about, numbers)
}

fn drawn(plot: Markup, about: &str, numbers: &Sheet) -> Markup {
    html! {
        figure {
            (plot)
            figcaption { (about) }
            details { summary { "Numbers: " (numbers.title) } (table(numbers)) }
        }
    }
}

/// Bars, which narrow screens show as a list: the drawing's letters would be too small there.
///
/// # Errors
/// When the plot cannot be drawn.
pub fn bars(plot: &Bars, about: &str, numbers: &Sheet) -> Result<Markup> {
    let longest = plot.longest();
    let percent = |value: f64| 100.0 * value.clamp(0.0, longest) / longest;
    let bar = |b: &Bar| {
        let [red, green, blue] = colour::series(b.style);
        format!("width:{:.1}%;background:#{red:02x}{green:02x}{blue:02x}", percent(b.value))
    };
    let spread = |b: &Bar| {
        let (low, high) = b.spread.map(|s| (percent(b.value - s), percent(b.value + s)))?;
        Some(format!("left:{low:.1}%;width:{:.1}%", high - low))
    };
    let drawing = html! {
        div.plot.wide { (PreEscaped(plot.svg()?)) }
        div.bars aria-hidden="true" {
            p.title { (plot.title) }
            @for group in &plot.groups {
                p { (group.name) }
                ul { @for b in &group.bars { li {
                    (b.label)
                    div.track {
                        @if b.value.is_finite() { div.bar style=(bar(b)) {} }
                        @if let Some(style) = spread(b).filter(|_| b.value.is_finite()) { div.spread style=(style) {} }
                    }
                } } }
            }
        }
    };
    Ok(drawn(drawing, about, numbers))
}

/// Curves with their key, which narrow screens need below the plot.
///
/// # Errors
/// When the plot cannot be drawn.
pub fn curve(plot: &Lines, about: &str) -> Result<Markup> {
    let marks = [["○", "□", "△", "◇"], ["●", "■", "▲", "◆"]];
    let key = |i: usize, s: &crate::plot::Series| {
        let style = s.style.unwrap_or(i);
        let [r, g, b] = colour::series(style);
        let mark = marks[usize::from(s.is_filled())][style % 4];
        let line = if s.dashed { "╌" } else { "─" };
        (format!("color:#{r:02x}{g:02x}{b:02x}"), format!("{line}{mark}{line}"))
    };
    let keys = plot.series.iter().enumerate().map(|(i, s)| (key(i, s), &s.name));
    let share = format!("--plot:{:.4}", Lines::PLOT);
    let drawing = html! {
        div.plot.curve.counted[plot.names.is_none()] style=(share) { (PreEscaped(plot.svg()?)) }
        ul.key aria-hidden="true" { @for ((style, mark), name) in keys {
            li { span style=(style) { (mark) } " " (name) }
        } }
    };
    Ok(drawn(drawing, about, &numbers(plot)))
}

/// Rows of a table of points, at most: of more, those at even distances.
const ROWS: usize = 2000;

/// The points of curves as a table: a row per x, a column per curve.
fn numbers(plot: &Lines) -> Sheet {
    let mut at: Vec<f64> = plot.series.iter().flat_map(|s| &s.points).map(|p| p.0).collect();
    at.sort_by(f64::total_cmp);
    at.dedup();
    let every = at.len().div_ceil(ROWS).max(1);
    let name = |x: f64| match plot.names.as_ref().and_then(|n| n.get(x.round().max(0.0) as usize)) {
        Some(name) => name.clone(),
        None => format!("{x}"),
    };
    // Points stand in order of x.
    let value = |x: f64, points: &[(f64, f64)]| {
        let found = points.get(points.partition_point(|p| p.0 < x));
        found.filter(|p| p.0 == x && p.1.is_finite()).map_or_else(|| "–".into(), |p| digits(p.1))
    };
    let header = std::iter::once(plot.x.clone());
    let some = if every > 1 { format!(" (one of {every})") } else { String::new() };
    Sheet {
        title: format!("{}{some}", plot.title),
        header: header.chain(plot.series.iter().map(|s| format!(">{}", s.name))).collect(),
        rows: at
            .iter()
            .step_by(every)
            .map(|&x| {
                std::iter::once(name(x)).chain(plot.series.iter().map(|s| value(x, &s.points))).collect()
            })
            .collect(),
    }
}

/// A number with four digits that count.
pub fn digits(value: f64) -> String {
    match value.abs() {
        v if !v.is_finite() => "–".into(),
        v if v >= 1e15 => format!("{value:.3e}"),
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// A stretch of time.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() => "–".into(),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
