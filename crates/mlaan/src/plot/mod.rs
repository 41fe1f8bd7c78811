//! Plots as SVG, in one look: readable without colour (every series has a marker of its own), in the colours of Okabe
//! and Ito, which colour-blind people tell apart, and viridis for values; light and dark as the reader prefers.
//!
//! A plot stands for itself as a file and may as well be put into a page: its style touches nothing else there.

mod bars;
pub mod colour;
mod heat;
mod lines;

pub use bars::{Bar, Bars, Group};
pub use heat::Heat;
pub use lines::{Lines, Series};

use crate::{Error, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Everything that is read.
const INK: RGBColor = RGBColor(0x1a, 0x1a, 0x1b);
/// What is read last.
const QUIET: RGBColor = RGBColor(0x5c, 0x5c, 0x5d);
/// Grids.
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xde);
/// What plots lie on.
const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xfe);

/// What replaces these on a dark screen. Their values are used for nothing else, so the style can find them.
const DARK: [(RGBColor, &str); 4] =
    [(INK, "#ececec"), (QUIET, "#a8a8a8"), (GRID, "#3a3a3a"), (PAPER, "#161616")];

/// What plotters divides sizes by before it writes them.
const POINTS: f64 = 1.24;

/// Text of a size in pixels, at a corner or middle.
fn text(size: f64, colour: RGBColor, x: HPos, y: VPos) -> TextStyle<'static> {
    ("sans-serif", size * POINTS).into_font().color(&colour).pos(Pos::new(x, y))
}

/// A drawing of `width` x `height` as SVG with a title that screen readers say.
fn svg<'a>(
    (width, height): (u32, u32),
    title: &str,
    draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, plotters::coord::Shift>) -> Drawn<'a>,
) -> Result<String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        let drawn = root.fill(&PAPER).map_err(Into::into).and_then(|()| draw(&root));
        drawn.and_then(|()| root.present().map_err(Into::into)).map_err(|e| failed(title, e.as_ref()))?;
    }
    Ok(dressed(&text, (width, height), title))
}

/// What drawing gives.
type Drawn<'a> = std::result::Result<(), Box<dyn std::error::Error + 'a>>;

fn failed(title: &str, e: &dyn std::error::Error) -> Error {
    Error::data(format!("plot `{title}`"), format!("cannot be drawn: {e}"))
}

/// The SVG with its title, and its style for dark screens.
fn dressed(svg: &str, (width, height): (u32, u32), title: &str) -> String {
    let body = svg.split_once("<svg").and_then(|(_, rest)| rest.split_once('>')).map_or("", |(_, body)| body);
    // XML has no control characters.
    let (title, body) = (escaped(&crate::text::line(title)), crate::text::lines(body));
    let dark: String = DARK
        .iter()
        .map(|(RGBColor(r, g, b), dark)| {
            let light = format!("#{r:02X}{g:02X}{b:02X}");
            format!(".mlaan-plot [fill=\"{light}\"]{{fill:{dark}}}.mlaan-plot [stroke=\"{light}\"]{{stroke:{dark}}}")
        })
        .collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"mlaan-plot\" role=\"img\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" style=\"max-width:100%;height:auto\" aria-label=\"{title}\">\
         <title>{title}</title><style>@media (prefers-color-scheme:dark){{{dark}}}</style>{}",
        body.trim_start()
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Steps of a scale that people read easily: 1, 2 or 5 times a power of ten, about `wanted` of them.
fn step(span: f64, wanted: usize) -> f64 {
    let rough = (span / wanted.max(1) as f64).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(10.0 * power)
}

/// A number on a scale whose steps are `step`.
fn number(value: f64, step: f64) -> String {
    if value.abs() >= 1e12 {
        return format!("{value:.2e}");
    }
    let digits = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests;
