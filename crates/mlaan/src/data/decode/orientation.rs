//! Turning pictures upright: cameras store pixels as the sensor has them, and how they were held in EXIF.

use super::tags::{self, number};

/// Whether pictures are turned as their EXIF orientation says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orientation {
    /// [`Orientation::Exif`] for folders and archives of pictures of one's own, [`Orientation::Ignore`] for sets as they
    /// are published, so that results compare.
    #[default]
    Auto,
    /// As viewers show them.
    Exif,
    /// As they are stored, which is what torchvision sees.
    Ignore,
}

impl Orientation {
    /// Whether images are turned; what `auto` leaves open is turned.
    pub(in crate::data) fn turns(self) -> bool {
        self != Orientation::Ignore
    }
}

/// How stored pixels become the picture: EXIF's orientation, 1 to 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// Rows become columns, before the mirrors.
    transpose: bool,
    /// Left and right change places.
    mirror: bool,
    /// Top and bottom change places.
    flip: bool,
}

impl Turn {
    /// By the number in EXIF metadata; none where nothing is to be turned, or the number says nothing.
    pub fn of_exif(exif: &[u8]) -> Option<Self> {
        // PNG and WebP hold it without this head, but for some writers.
        let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
        let turn = |transpose, mirror, flip| Some(Turn { transpose, mirror, flip });
        match number(tiff, tags::ORIENTATION)? {
            2 => turn(false, true, false),
            3 => turn(false, true, true),
            4 => turn(false, false, true),
            5 => turn(true, false, false),
            6 => turn(true, true, false),
            7 => turn(true, true, true),
            8 => turn(true, false, true),
            _ => None,
        }
    }

    /// Height and width once turned.
    pub fn sides(self, (height, width): (usize, usize)) -> (usize, usize) {
        if self.transpose { (width, height) } else { (height, width) }
    }

    /// The pixels, turned; `sides` are those stored. Gives those of the result.
    pub fn apply(self, rgb: &mut Vec<u8>, sides: (usize, usize)) -> (usize, usize) {
        let (height, width) = self.sides(sides);
        let mut turned = Vec::with_capacity(rgb.len());
        for y in 0..height {
            for x in 0..width {
                let y = if self.flip { height - 1 - y } else { y };
                let x = if self.mirror { width - 1 - x } else { x };
                let (row, column) = if self.transpose { (x, y) } else { (y, x) };
                let at = (row * sides.1 + column) * 3;
                turned.extend_from_slice(&rgb[at..at + 3]);
            }
        }
        *rgb = turned;
        (height, width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_eight_orientations_are_turned_upright() {
        let exif = |value: u8| {
            [&b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..], &[value, 0, 0]].concat()
        };
        // What Pillow's `exif_transpose` makes of 1 2 3 over 4 5 6.
        for (value, sides, expected) in [
            (2, (2, 3), [3, 2, 1, 6, 5, 4]),
            (3, (2, 3), [6, 5, 4, 3, 2, 1]),
            (4, (2, 3), [4, 5, 6, 1, 2, 3]),
            (5, (3, 2), [1, 4, 2, 5, 3, 6]),
            (6, (3, 2), [4, 1, 5, 2, 6, 3]),
            (7, (3, 2), [6, 3, 5, 2, 4, 1]),
            (8, (3, 2), [3, 6, 2, 5, 1, 4]),
        ] {
            let turn = Turn::of_exif(&exif(value)).unwrap();
            let mut rgb: Vec<u8> = [1, 2, 3, 4, 5, 6].into_iter().flat_map(|v| [v; 3]).collect();
            assert_eq!((turn.sides((2, 3)), turn.apply(&mut rgb, (2, 3))), (sides, sides), "{value}");
            assert_eq!(rgb.iter().step_by(3).copied().collect::<Vec<_>>(), expected, "{value}");
        }
        for value in [0, 1, 9] {
            assert_eq!(Turn::of_exif(&exif(value)), None, "{value}");
        }
        assert_eq!(Turn::of_exif(b"nothing"), None);
    }
}
