//! Matrices of values as colours.

use super::{Drawn, INK, QUIET, colour, svg, text};
use crate::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

/// A matrix whose values, from 0 to 1, are shown in viridis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heat {
    /// Above it.
    pub title: String,
    /// Below the columns.
    pub x: String,
    /// Above the rows' names.
    pub y: String,
    /// Names of the columns, left to right.
    pub columns: Vec<String>,
    /// Names of the rows, bottom to top.
    pub rows: Vec<String>,
    /// Per row; none is left blank.
    pub values: Vec<Vec<Option<f64>>>,
}

/// Least room for names of rows, above, to the right and below.
const LEFT: i32 = 96;
const TOP: i32 = 62;
const RIGHT: i32 = 92;
const BOTTOM: i32 = 60;

/// Size of names, pixels, and about how wide a letter of them is.
const NAME: f64 = 12.0;
const LETTER: i32 = 7;

/// About how wide the longest of some names is.
fn widest(names: &[String]) -> i32 {
    names.iter().map(|name| name.chars().count() as i32 * LETTER).max().unwrap_or(0)
}

impl Heat {
    /// Room for the names of rows.
    fn left(&self) -> i32 {
        LEFT.max(widest(&self.rows) + 20)
    }

    /// Whether names of columns stand upright below them, since they are wider than these.
    fn upright(&self, cell: i32) -> bool {
        let most = if self.columns.len() < 12 { cell } else { 54 };
        widest(&self.columns) > most
    }

    /// Whether every value is known, as none is left blank.
    fn whole(&self) -> bool {
        self.values.iter().flatten().all(Option::is_some)
    }

    /// The plot as SVG.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn svg(&self) -> Result<String> {
        let most = self.columns.len().max(self.rows.len()).max(1) as i32;
        let cell = (480 / most).clamp(8, 48);
        let (width, height) = (cell * self.columns.len() as i32, cell * self.rows.len() as i32);
        let (left, upright) = (self.left(), self.upright(cell));
        let below = if upright { widest(&self.columns) + 16 } else { 34 };
        let bottom = BOTTOM - 34 + below;
        // Titles may be wider than small matrices.
        let size = ((left + width + RIGHT).max(420) as u32, (TOP + height + bottom).max(240) as u32);
        svg(size, &self.title, |root| {
            root.draw(&Text::new(self.title.as_str(), (12, 10), text(17.0, INK, HPos::Left, VPos::Top)))?;
            root.draw(&Text::new(self.y.as_str(), (12, TOP - 22), text(13.0, INK, HPos::Left, VPos::Top)))?;
            let (middle, below) = (left + width / 2, TOP + height + below);
            root.draw(&Text::new(
                self.x.as_str(),
                (middle, below),
                text(13.0, INK, HPos::Center, VPos::Top),
            ))?;
            let whole = self.whole();
            if whole {
                // Zeros, of which large matrices have most, at once.
                let all = Rectangle::new(
                    [(left, TOP), (left + width, TOP + height)],
                    colour::rgb(colour::viridis(0.0)).filled(),
                );
                root.draw(&all)?;
            }
            for (r, row) in self.values.iter().enumerate() {
                let y = TOP + height - (r as i32 + 1) * cell;
                for (c, value) in row.iter().enumerate() {
                    if let Some(v) = value.filter(|v| v.is_finite() && !(whole && *v == 0.0)) {
                        square(root, (left + c as i32 * cell, y), cell, v)?;
                    }
                }
            }
            self.names(root, cell, height)?;
            scale(root, (left + width + 18, TOP), height.max(120))
        })
    }

    fn names(&self, root: &Area<'_>, cell: i32, height: i32) -> Drawn<'static> {
        // Names that would touch are left out.
        let (left, upright) = (self.left(), self.upright(cell));
        let (across, down) =
            ((if upright { 14 } else { 54 } / cell).max(1) as usize, (14 / cell).max(1) as usize);
        for (r, name) in self.rows.iter().enumerate().step_by(down) {
            let at = (left - 6, TOP + height - r as i32 * cell - cell / 2);
            root.draw(&Text::new(name.as_str(), at, text(NAME, QUIET, HPos::Right, VPos::Center)))?;
        }
        for (c, name) in self.columns.iter().enumerate().step_by(across) {
            let at = (left + c as i32 * cell + cell / 2, TOP + height + 8);
            let style = match upright {
                true => {
                    let turned = text(NAME, QUIET, HPos::Left, VPos::Center);
                    TextStyle { font: turned.font.transform(FontTransform::Rotate90), ..turned }
                }
                false => text(NAME, QUIET, HPos::Center, VPos::Top),
            };
            root.draw(&Text::new(name.as_str(), at, style))?;
        }
        Ok(())
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// One value, with its number where there is room.
fn square(root: &Area<'_>, (x, y): (i32, i32), cell: i32, value: f64) -> Drawn<'static> {
    let tint = colour::viridis(value as f32);
    root.draw(&Rectangle::new([(x, y), (x + cell, y + cell)], colour::rgb(tint).filled()))?;
    if cell >= 32 {
        let written = format!("{value:.2}");
        let style = text(12.0, colour::ink_on(tint), HPos::Center, VPos::Center);
        root.draw(&Text::new(written, (x + cell / 2, y + cell / 2), style))?;
    }
    Ok(())
}

/// What the colours mean.
fn scale(root: &Area<'_>, (x, y): (i32, i32), height: i32) -> Drawn<'static> {
    for i in 0..height {
        let tint = colour::rgb(colour::viridis(1.0 - i as f32 / height as f32));
        root.draw(&Rectangle::new([(x, y + i), (x + 14, y + i + 1)], tint.filled()))?;
    }
    for value in [0.0, 0.5, 1.0] {
        let at = (x + 20, y + ((1.0 - value) * f64::from(height)) as i32);
        root.draw(&Text::new(format!("{value:.1}"), at, text(12.0, QUIET, HPos::Left, VPos::Center)))?;
    }
    Ok(())
}
