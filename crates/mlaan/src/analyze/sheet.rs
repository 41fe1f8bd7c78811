//! Feature maps of one image as a picture: a row per network, a column per place.

use super::features::{ImageMaps, Maps, NetworkMaps};
use crate::data::ImageView;
use crate::data::resize::{Region, Workspace, resize};
use crate::files::atomic;
use crate::plot::colour;
use crate::{Error, Result};
use font8x8::UnicodeFonts;
use image::{ExtendedColorType, ImageEncoder};
use std::path::Path;

/// Side of a map, pixels.
const CELL: usize = 128;
/// Between cells.
const GAP: usize = 12;
/// A letter's side: the font's 8 pixels, twice.
const LETTER: usize = 16;
/// From one line of text to the next.
const LINE: usize = LETTER + 6;
/// Letters in a line beside the rows.
const LETTERS: usize = 16;
/// Share of the map's colour over the picture.
const COVER: f32 = 0.6;

/// A picture.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height * width * 3` bytes.
    pub rgb: Vec<u8>,
}

impl Sheet {
    /// Draws what every network makes of an image: the mean over channels over the picture, and below it the strongest
    /// channels.
    pub fn draw(found: &ImageMaps) -> Self {
        let columns = found.networks.iter().map(|l| l.places.len()).max().unwrap_or(0) + 1;
        let (left, row) = (LETTERS * LETTER + 2 * GAP, LINE + 2 * (CELL + GAP) + GAP);
        let width = left + columns * (CELL + GAP);
        let class = found.label.as_ref().map_or_else(String::new, |l| format!(", {l}"));
        let across = |text: &str| wrapped(text, (width - 2 * GAP) / LETTER);
        let title = across(&format!("image {}{class}", found.image));
        let about =
            across("above: mean over channels; below: the 4 strongest; dark: least, bright: greatest");
        let top = GAP + (title.len() + about.len()) * LINE + GAP;
        let mut sheet = Self::blank(width, top + found.networks.len() * row);
        let inks = std::iter::repeat_n(INK, title.len()).chain(std::iter::repeat(QUIET));
        for (i, (line, ink)) in title.iter().chain(&about).zip(inks).enumerate() {
            sheet.text(GAP, GAP + i * LINE, line, ink);
        }
        let view = ImageView { height: found.size, width: found.size, rgb: &found.rgb };
        let mut picture = vec![0; CELL * CELL * 3];
        resize(view, Region::all(view), (CELL, CELL), &mut picture, &mut Workspace::default());
        for (i, network) in found.networks.iter().enumerate() {
            sheet.row(network, &picture, left, top + i * row);
        }
        sheet
    }

    fn blank(width: usize, height: usize) -> Self {
        Sheet { width, height, rgb: vec![255; width * height * 3] }
    }

    fn row(&mut self, network: &NetworkMaps, picture: &[u8], left: usize, top: usize) {
        let mut y = top + LINE;
        for line in wrapped(&network.subject, LETTERS) {
            self.text(GAP, y, &line, INK);
            y += LINE;
        }
        for line in wrapped(&format!("says {}", network.prediction), LETTERS) {
            self.text(GAP, y, &line, QUIET);
            y += LINE;
        }
        self.tile(left, top + LINE, CELL, |x, y| pixel(picture, x, y));
        for (i, maps) in network.places.iter().enumerate() {
            let x = left + (i + 1) * (CELL + GAP);
            self.text(x, top, &maps.at.name, INK);
            self.maps(maps, picture, x, top + LINE);
        }
    }

    fn maps(&mut self, maps: &Maps, picture: &[u8], left: usize, top: usize) {
        let extent = (maps.height, maps.width);
        let mean = ScaledMap::new(&maps.mean, extent);
        self.tile(left, top, CELL, |x, y| {
            let [r, g, b] = pixel(picture, x, y).map(f32::from);
            let grey = 0.299 * r + 0.587 * g + 0.114 * b;
            colour::viridis(mean.at(x, y, CELL))
                .map(|c| (COVER * f32::from(c) + (1.0 - COVER) * grey).round() as u8)
        });
        let half = (CELL - GAP / 2) / 2;
        for (k, (_, values)) in maps.strongest.iter().enumerate() {
            let (x, y) = (left + k % 2 * (half + GAP / 2), top + CELL + GAP + k / 2 * (half + GAP / 2));
            let plane = ScaledMap::new(values, extent);
            self.tile(x, y, half, |x, y| colour::viridis(plane.at(x, y, half)));
        }
    }

    /// A square of pixels; `of` is asked for each.
    fn tile(&mut self, left: usize, top: usize, side: usize, of: impl Fn(usize, usize) -> [u8; 3]) {
        for y in 0..side {
            for x in 0..side {
                self.put(left + x, top + y, of(x, y));
            }
        }
    }

    fn put(&mut self, x: usize, y: usize, rgb: [u8; 3]) {
        if x < self.width && y < self.height {
            let at = (y * self.width + x) * 3;
            self.rgb[at..at + 3].copy_from_slice(&rgb);
        }
    }

    /// A line of text, cut off at the border.
    fn text(&mut self, left: usize, top: usize, text: &str, ink: [u8; 3]) {
        for (i, c) in text.chars().enumerate() {
            let glyph = font8x8::BASIC_FONTS.get(c).or_else(|| font8x8::LATIN_FONTS.get(c));
            let glyph = glyph.or_else(|| font8x8::BASIC_FONTS.get('?')).unwrap_or_default();
            for (y, row) in glyph.iter().enumerate() {
                for x in (0..8).filter(|x| row >> x & 1 == 1) {
                    let (x, y) = (left + i * LETTER + 2 * x, top + 2 * y);
                    for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                        self.put(x + dx, y + dy, ink);
                    }
                }
            }
        }
    }

    /// Writes it as PNG, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_png(&self, path: &Path) -> Result<()> {
        let size = (self.width as u32, self.height as u32);
        atomic::write(path, |out| {
            let encoder = image::codecs::png::PngEncoder::new(out);
            let written = encoder.write_image(&self.rgb, size.0, size.1, ExtendedColorType::Rgb8);
            written.map_err(|e| Error::data(path.display().to_string(), format!("cannot be written: {e}")))
        })
    }
}

const INK: [u8; 3] = [26, 26, 26];
const QUIET: [u8; 3] = [96, 96, 96];

fn pixel(picture: &[u8], x: usize, y: usize) -> [u8; 3] {
    let at = (y * CELL + x) * 3;
    [picture[at], picture[at + 1], picture[at + 2]]
}

/// A map from its least value, 0, to its greatest, 1.
struct ScaledMap<'a> {
    values: &'a [f32],
    extent: (usize, usize),
    least: f32,
    span: f32,
}

impl<'a> ScaledMap<'a> {
    fn new(values: &'a [f32], extent: (usize, usize)) -> Self {
        let least = values.iter().copied().fold(f32::INFINITY, f32::min);
        let span = values.iter().copied().fold(f32::NEG_INFINITY, f32::max) - least;
        ScaledMap { values, extent, least, span }
    }

    /// Pixel (x, y) of the map scaled to a square of `side` pixels, bilinear.
    fn at(&self, x: usize, y: usize, side: usize) -> f32 {
        let (height, width) = self.extent;
        let place = |at: usize, n: usize| {
            let exact = ((at as f32 + 0.5) * n as f32 / side as f32 - 0.5).clamp(0.0, (n - 1) as f32);
            let first = exact as usize;
            (first, (first + 1).min(n - 1), exact - first as f32)
        };
        let ((y0, y1, v), (x0, x1, u)) = (place(y, height), place(x, width));
        let value = |y: usize, x: usize| self.values[y * width + x];
        let upper = value(y0, x0) * (1.0 - u) + value(y0, x1) * u;
        let lower = value(y1, x0) * (1.0 - u) + value(y1, x1) * u;
        let found = upper * (1.0 - v) + lower * v;
        if self.span > 0.0 { (found - self.least) / self.span } else { 0.0 }
    }
}

/// A text in lines of so many letters, broken behind `-`, `/` and spaces where there are some.
fn wrapped(text: &str, letters: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(['-', '/', ' ', '_']) {
        let mut word: Vec<char> = word.chars().collect();
        while !word.is_empty() {
            let line = lines.last().map_or(0, |l| l.chars().count());
            if line > 0 && line + word.len() > letters {
                lines.push(String::new());
                continue;
            }
            let rest = word.split_off(word.len().min(letters));
            if let Some(l) = lines.last_mut() {
                l.extend(word);
            }
            word = rest;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::Place;

    #[test]
    fn long_names_are_broken_where_words_end() {
        assert_eq!(wrapped("mlaan-released-resnet20-10", 16), ["mlaan-released-", "resnet20-10"]);
        assert_eq!(wrapped("bp", 16), ["bp"]);
        assert_eq!(wrapped("abcdefghijklmnopqrs", 16), ["abcdefghijklmnop", "qrs"]);
    }

    #[test]
    fn maps_are_scaled_smoothly_from_least_to_greatest() {
        let plane = ScaledMap::new(&[1.0, 3.0, 1.0, 3.0], (2, 2));
        assert_eq!((plane.at(0, 0, 8), plane.at(7, 3, 8)), (0.0, 1.0));
        assert!((plane.at(3, 0, 8) - 0.375).abs() < 1e-6);
        assert_eq!(ScaledMap::new(&[2.0; 4], (2, 2)).at(1, 1, 4), 0.0);
    }

    #[test]
    fn a_sheet_holds_a_bright_cell_where_the_map_is_greatest() {
        let at = Place { place: 0, name: "stem".into(), channels: 1, module: 0, module_end: true };
        let maps =
            Maps { at, height: 1, width: 2, mean: vec![0.0, 1.0], strongest: vec![(0, vec![0.0, 1.0])] };
        let network = NetworkMaps { subject: "x".into(), prediction: "cat".into(), places: vec![maps] };
        let found =
            ImageMaps { image: "3".into(), label: None, size: 2, rgb: vec![0; 12], networks: vec![network] };
        let sheet = Sheet::draw(&found);
        assert_eq!(sheet.rgb.len(), sheet.width * sheet.height * 3);
        let left = LETTERS * LETTER + 2 * GAP + CELL + GAP;
        let row = LINE + 2 * (CELL + GAP) + GAP;
        let top = sheet.height - row + LINE;
        let brightness = |x: usize| {
            let at = ((top + CELL / 2) * sheet.width + left + x) * 3;
            sheet.rgb[at..at + 3].iter().map(|&v| u32::from(v)).sum::<u32>()
        };
        assert!(brightness(CELL - 2) > brightness(2) + 100);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        sheet.write_png(&path).unwrap();
        let back = image::open(&path).unwrap().into_rgb8();
        assert_eq!(back.into_raw(), sheet.rgb);
    }
}
