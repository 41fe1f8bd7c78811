//! Values as bars from zero, each with its name and number before it: nothing is said by colour alone, and on a narrow
//! screen the numbers are what is seen first.

use super::{Drawn, INK, QUIET, colour, svg, text};
use crate::Result;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

/// A bar.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bar {
    /// Its length.
    pub value: f64,
    /// Half the length of the line at its end; none without spread.
    pub spread: Option<f64>,
    /// What is written before it: what it is, and the number.
    pub label: String,
    /// Its colour, by number; bars of one kind share it.
    pub style: usize,
}

/// Bars that belong together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Above them.
    pub name: String,
    /// From above.
    pub bars: Vec<Bar>,
}

/// A plot of bars.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bars {
    /// Above it.
    pub title: String,
    /// From above.
    pub groups: Vec<Group>,
}

/// Little more than a phone's, so that the whole plot is seen there at once.
const WIDTH: i32 = 620;
const LEFT: i32 = 12;
/// Where bars begin and may end.
const BEGIN: i32 = 300;
const END: i32 = WIDTH - 16;
const TOP: i32 = 42;
/// Height of a bar, its distance to the next one, of a name above them, and between groups.
const BAR: i32 = 16;
const PITCH: i32 = 23;
const NAME: i32 = 24;
const GAP: i32 = 10;

/// Characters that there is room for before a bar.
const LABEL: usize = 38;

impl Bars {
    /// Whether each group has one bar whose label has room for the group's name too.
    fn is_short(&self) -> bool {
        let fits = |g: &Group| match g.bars.as_slice() {
            [one] => g.name.chars().count() + one.label.chars().count() + 2 <= LABEL,
            _ => false,
        };
        self.groups.len() > 1 && self.groups.iter().all(fits)
    }

    /// Where the longest bar ends, or the line at its end.
    pub fn longest(&self) -> f64 {
        let ends = self.groups.iter().flat_map(|g| &g.bars).map(|b| b.value + b.spread.unwrap_or(0.0));
        ends.filter(|v| v.is_finite()).fold(f64::MIN_POSITIVE, f64::max)
    }

    /// The plot as SVG.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn svg(&self) -> Result<String> {
        let short = self.is_short();
        let of = |g: &Group| if short { PITCH + GAP / 2 } else { NAME + PITCH * g.bars.len() as i32 + GAP };
        let height: i32 = self.groups.iter().map(of).sum();
        let longest = self.longest();
        svg((WIDTH as u32, (TOP + height.max(20)) as u32), &self.title, |root| {
            root.draw(&Text::new(self.title.as_str(), (LEFT, 10), text(17.0, INK, HPos::Left, VPos::Top)))?;
            let mut y = TOP;
            for group in self.groups.iter().filter(|_| short) {
                for bar in &group.bars {
                    let label = format!("{}: {}", group.name, bar.label);
                    draw(root, &Bar { label, ..bar.clone() }, y, longest)?;
                }
                y += PITCH + GAP / 2;
            }
            for group in self.groups.iter().filter(|_| !short) {
                root.draw(&Text::new(
                    group.name.as_str(),
                    (LEFT, y),
                    text(14.0, QUIET, HPos::Left, VPos::Top),
                ))?;
                y += NAME;
                for bar in &group.bars {
                    draw(root, bar, y, longest)?;
                    y += PITCH;
                }
                y += GAP;
            }
            Ok(())
        })
    }
}

fn draw(root: &DrawingArea<SVGBackend<'_>, Shift>, bar: &Bar, y: i32, longest: f64) -> Drawn<'static> {
    let x =
        |value: f64| BEGIN + (value.clamp(0.0, longest) / longest * f64::from(END - BEGIN)).round() as i32;
    let middle = y + BAR / 2;
    let label = text(14.0, INK, HPos::Left, VPos::Center);
    root.draw(&Text::new(bar.label.as_str(), (LEFT + 12, middle), label))?;
    if !bar.value.is_finite() {
        return Ok(());
    }
    let fill = colour::rgb(colour::series(bar.style)).filled();
    root.draw(&Rectangle::new([(BEGIN, y), (x(bar.value).max(BEGIN + 1), y + BAR)], fill))?;
    if let Some(spread) = bar.spread.filter(|s| s.is_finite()) {
        let (low, high) = (x(bar.value - spread), x(bar.value + spread));
        let ink = INK.stroke_width(2);
        root.draw(&PathElement::new(vec![(low, middle), (high, middle)], ink))?;
        for at in [low, high] {
            root.draw(&PathElement::new(vec![(at, middle - 4), (at, middle + 4)], ink))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values_and_say_them() {
        let bar = |value, label: &str| Bar { value, label: label.into(), ..Bar::default() };
        let bars = vec![bar(2.0, "two"), bar(1.0, "one"), bar(f64::NAN, "none")];
        let plot = Bars { title: "t".into(), groups: vec![Group { name: "g".into(), bars }] };
        let svg = plot.svg().unwrap();
        for (label, width) in [("two", END - BEGIN), ("one", (END - BEGIN) / 2)] {
            assert!(svg.contains(label) && svg.contains(&format!("width=\"{width}\"")), "{label}: {svg}");
        }
        assert!(svg.contains("none") && !svg.contains("NaN"));
        assert!(Bars::default().svg().is_ok());
        // One bar each: name and number stand in a line.
        let one = |name: &str| Group { name: name.into(), bars: vec![bar(1.0, "1 %")] };
        let svg = Bars { title: "t".into(), groups: vec![one("first"), one("second")] }.svg().unwrap();
        assert!(svg.contains("first: 1 %") && svg.contains("second: 1 %"), "{svg}");
    }
}
