//! Curves.

use super::{Drawn, GRID, INK, QUIET, colour, number, step, svg, text};
use crate::Result;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

/// A curve.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Points in order of x; those that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// Whether a point's marker is filled; points beyond the list's end are hollow.
    pub filled: Vec<bool>,
    /// Dashed instead of solid.
    pub dashed: bool,
    /// x, least and greatest: what lies between is tinted.
    pub band: Vec<(f64, f64, f64)>,
    /// Its colour and marker, by number; two curves of one thing may share them. None: its own number.
    pub style: Option<usize>,
}

impl Series {
    /// Whether its markers are filled, as a legend shows it: some of them, or all where nothing is said.
    pub fn is_filled(&self) -> bool {
        self.filled.is_empty() || self.filled.contains(&true)
    }
}

/// A plot of curves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lines {
    /// Above it.
    pub title: String,
    /// Below the x axis.
    pub x: String,
    /// Beside the y axis.
    pub y: String,
    /// Names of x = 0, 1, …, instead of numbers.
    pub names: Option<Vec<String>>,
    /// Whether the y axis begins at 0.
    pub from_zero: bool,
    /// Whether points have markers.
    pub markers: bool,
    /// The curves.
    pub series: Vec<Series>,
}

const SIZE: (u32, u32) = (880, 460);
/// Width of the legend, at the right: narrow pages cut it off and say it below.
const LEGEND: u32 = 290;
/// Height of a line of the legend.
const LINE: i32 = 27;
/// How much of its colour a band has.
const BAND: f64 = 0.18;

/// Numbers beyond which arithmetic with them has no room.
const GREATEST: f64 = 1e300;
/// Least width of a scale, as a part of its numbers.
const NARROWEST: f64 = 1e-9;

/// Whether a point is drawn.
fn is_drawn((x, y): &(f64, f64)) -> bool {
    x.abs() <= GREATEST && y.abs() <= GREATEST
}

/// Least and greatest of x and y.
type Range = ((f64, f64), (f64, f64));

impl Lines {
    /// How much of the drawing's width is the plot; the rest is its legend.
    pub const PLOT: f32 = (SIZE.0 - LEGEND) as f32 / SIZE.0 as f32;

    /// The plot as SVG.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn svg(&self) -> Result<String> {
        let height = SIZE.1.max(90 + LINE as u32 * self.series.len() as u32);
        svg((SIZE.0, height), &self.title, |root| {
            let (plot, legend) = root.split_horizontally(SIZE.0 - LEGEND);
            self.plot(&plot)?;
            self.legend(&legend)
        })
    }

    fn range(&self) -> Range {
        let ends = |s: &Series| {
            s.band.iter().flat_map(|(x, low, high)| [(*x, *low), (*x, *high)]).collect::<Vec<_>>()
        };
        let points =
            self.series.iter().flat_map(|s| s.points.iter().copied().chain(ends(s))).filter(is_drawn);
        let empty = (f64::INFINITY, f64::NEG_INFINITY);
        let wider = |(a, b): (f64, f64), v: f64| (a.min(v), b.max(v));
        let (x, y) = points.fold((empty, empty), |(x, y), p| (wider(x, p.0), wider(y, p.1)));
        let room = |(a, b): (f64, f64), share: f64| {
            // Steps of a scale that are lost in its numbers' last digits would never come to its end.
            let least = NARROWEST * a.abs().max(b.abs());
            match (a <= b, b - a <= least) {
                (false, _) => (0.0, 1.0),
                (_, true) => (a - least.max(0.5), b + least.max(0.5)),
                _ => (a - share * (b - a), b + share * (b - a)),
            }
        };
        let (x, y) = (room(x, 0.02), room(y, 0.06));
        (x, if self.from_zero { (0.0, y.1) } else { y })
    }

    fn plot(&self, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Drawn<'static> {
        let ((x0, x1), (y0, y1)) = self.range();
        let slant = self.names.as_ref().is_some_and(|n| n.len() > 12);
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, text(19.0, INK, HPos::Left, VPos::Top))
            .margin(10)
            .x_label_area_size(if slant { 66 } else { 58 })
            .y_label_area_size(80)
            .build_cartesian_2d(x0..x1, y0..y1)?;
        // What is counted, as epochs are, has no halves.
        let mut points = self.series.iter().flat_map(|s| &s.points);
        let counted = points.all(|p| p.0.fract() == 0.0);
        let (dx, dy) = (step(x1 - x0, 8), step(y1 - y0, 6));
        let named = |v: &f64| match &self.names {
            Some(names) if (v - v.round()).abs() < 1e-6 && *v >= 0.0 => {
                names.get(v.round() as usize).cloned().unwrap_or_default()
            }
            Some(_) => String::new(),
            None if counted && (v - v.round()).abs() > 1e-6 => String::new(),
            None => number(*v, if counted { dx.max(1.0) } else { dx }),
        };
        let marks = self.names.as_ref().map_or(8, |n| n.len().min(12));
        chart
            .configure_mesh()
            .x_desc(&self.x)
            .y_desc(&self.y)
            .axis_desc_style(text(16.0, INK, HPos::Center, VPos::Top))
            .label_style(text(15.0, QUIET, HPos::Center, VPos::Top))
            .x_label_style(text(
                if self.names.is_some() { 11.0 } else { 15.0 },
                QUIET,
                HPos::Center,
                VPos::Top,
            ))
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(QUIET)
            .x_labels(marks)
            .y_labels(6)
            .x_label_formatter(&named)
            // The library may draw lines between those that were wanted: these need a digit more to differ.
            .y_label_formatter(&|v| {
                let steps = v / dy;
                number(*v, if (steps - steps.round()).abs() < 1e-6 { dy } else { dy / 10.0 })
            })
            .draw()?;
        for (i, s) in self.series.iter().enumerate() {
            let tint = colour::rgb(colour::series(s.style.unwrap_or(i))).mix(BAND);
            let drawn =
                || s.band.iter().filter(|(x, low, high)| is_drawn(&(*x, *low)) && is_drawn(&(*x, *high)));
            let above = drawn().map(|(x, _, high)| (*x, *high));
            let around: Vec<(f64, f64)> = above.chain(drawn().rev().map(|(x, low, _)| (*x, *low))).collect();
            if around.len() > 2 {
                chart.draw_series([Polygon::new(around, tint.filled())])?;
            }
        }
        for (i, s) in self.series.iter().enumerate() {
            let style = s.style.unwrap_or(i);
            let ink = colour::rgb(colour::series(style)).stroke_width(3);
            let finite = s.points.iter().copied().filter(is_drawn);
            if s.dashed {
                chart.draw_series(DashedLineSeries::new(finite, 6, 4, ink))?;
            } else {
                chart.draw_series(LineSeries::new(finite, ink))?;
            }
            if self.markers {
                for (k, p) in s.points.iter().enumerate().filter(|(_, p)| is_drawn(p)) {
                    let at = chart.backend_coord(p);
                    let filled = s.filled.get(k).copied().unwrap_or(false);
                    marker(area, at, style, filled)?;
                }
            }
        }
        Ok(())
    }

    fn legend(&self, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Drawn<'static> {
        for (i, s) in self.series.iter().enumerate() {
            let (style, y) = (s.style.unwrap_or(i), 52 + LINE * i as i32);
            let ink = colour::rgb(colour::series(style)).stroke_width(2);
            let ends = if s.dashed { vec![(6, 13), (19, 26)] } else { vec![(6, 26)] };
            for (a, b) in ends {
                area.draw(&PathElement::new(vec![(a, y), (b, y)], ink))?;
            }
            if self.markers {
                let (x0, y0) = area.get_base_pixel();
                marker(area, (x0 + 16, y0 + y), style, s.is_filled())?;
            }
            let name: String = shortened(&s.name);
            area.draw(&Text::new(name, (34, y), text(15.0, INK, HPos::Left, VPos::Center)))?;
        }
        Ok(())
    }
}

/// As much of a name as the legend has room for.
fn shortened(name: &str) -> String {
    const MOST: usize = 32;
    match name.chars().count() {
        n if n > MOST => name.chars().take(MOST - 1).chain(['…']).collect(),
        _ => name.into(),
    }
}

/// A marker of series `style` at a pixel of the whole drawing: circle, square, triangle and diamond in turn.
fn marker(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    at: (i32, i32),
    style: usize,
    filled: bool,
) -> Drawn<'static> {
    let (x0, y0) = area.get_base_pixel();
    let (x, y) = (at.0 - x0, at.1 - y0);
    let ink = colour::rgb(colour::series(style));
    let fill = if filled { ink } else { super::PAPER };
    let corners = |points: [(i32, i32); 4]| points.map(|(dx, dy)| (x + dx, y + dy)).to_vec();
    let outline = match style % 4 {
        0 => {
            area.draw(&Circle::new((x, y), 4, fill.filled()))?;
            area.draw(&Circle::new((x, y), 4, ink.stroke_width(2)))?;
            return Ok(());
        }
        1 => corners([(-4, -4), (4, -4), (4, 4), (-4, 4)]),
        2 => corners([(-5, 4), (5, 4), (0, -5), (-5, 4)]),
        _ => corners([(-5, 0), (0, -5), (5, 0), (0, 5)]),
    };
    area.draw(&Polygon::new(outline.clone(), fill.filled()))?;
    let closed = outline.iter().copied().chain(outline.first().copied()).collect::<Vec<_>>();
    area.draw(&PathElement::new(closed, ink.stroke_width(2)))?;
    Ok(())
}
