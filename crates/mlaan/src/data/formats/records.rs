//! Images of one size, one after the other in files or in memory: what the binary data sets are.

use std::fs::File;

use super::super::at::read_exact_at;
use super::super::stored::{Content, ReadAt};

/// How the pixels of a record lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pixels {
    /// Red, then green, then blue, each row by row.
    Planes,
    /// Red, then green, then blue, each column by column.
    Columns,
    /// One grey value each, row by row.
    Grey,
}

/// Where records lie.
pub(super) enum Blob {
    /// A file, read when needed.
    File(File),
    /// Memory: what came out of an archive.
    Memory(Vec<u8>),
}

/// Some records of a split.
pub(super) struct Part {
    /// What messages call it.
    pub place: String,
    /// The bytes.
    pub blob: Blob,
    /// Bytes before the first record.
    pub offset: u64,
    /// Number of records.
    pub records: usize,
}

/// How records are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// Bytes of a record before its pixels.
    pub header: usize,
    /// Pixels per column.
    pub height: usize,
    /// Pixels per row.
    pub width: usize,
    /// How the pixels lie.
    pub pixels: Pixels,
}

impl Form {
    fn pixel_bytes(&self) -> usize {
        let channels = if self.pixels == Pixels::Grey { 1 } else { 3 };
        self.height * self.width * channels
    }

    /// Bytes of a record.
    pub fn bytes(&self) -> usize {
        self.header + self.pixel_bytes()
    }

    /// The pixels as RGB, row by row.
    fn rgb(&self, pixels: &[u8]) -> Vec<u8> {
        let (h, w) = (self.height, self.width);
        let plane = h * w;
        let mut rgb = vec![0; plane * 3];
        for (at, out) in rgb.chunks_exact_mut(3).enumerate() {
            let place = match self.pixels {
                Pixels::Planes | Pixels::Grey => at,
                Pixels::Columns => (at % w) * h + at / w,
            };
            for (channel, value) in out.iter_mut().enumerate() {
                let channel = if self.pixels == Pixels::Grey { 0 } else { channel };
                *value = pixels[channel * plane + place];
            }
        }
        rgb
    }
}

/// The images of a split.
pub(super) struct Records {
    form: Form,
    parts: Vec<Part>,
    /// The first record of every part.
    starts: Vec<usize>,
}

impl Records {
    /// All records of `parts`, in order.
    pub fn new(form: Form, parts: Vec<Part>) -> Self {
        let starts = parts.iter().scan(0, |all, part| {
            let start = *all;
            *all += part.records;
            Some(start)
        });
        let starts = starts.collect();
        Records { form, parts, starts }
    }

    /// The part that holds record `index`, and its number there.
    fn find(&self, index: usize) -> Option<(&Part, usize)> {
        let part = self.starts.partition_point(|start| *start <= index).checked_sub(1)?;
        Some((&self.parts[part], index - self.starts[part]))
    }
}

impl ReadAt for Records {
    fn name(&self, index: usize) -> String {
        self.find(index).map_or_else(String::new, |(part, record)| format!("{}, record {record}", part.place))
    }

    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> Result<Content, String> {
        let (part, record) = self.find(index).ok_or("no such image")?;
        let (size, header) = (self.form.bytes(), self.form.header);
        let mut own = Vec::new();
        let start = part.offset as usize + record * size;
        let whole = match &part.blob {
            Blob::Memory(memory) => memory.get(start..start + size).ok_or("it ends within this record")?,
            Blob::File(file) => {
                own.resize(size, 0);
                read_exact_at(file, &mut own, start as u64).map_err(|e| e.to_string())?;
                &own
            }
        };
        *bytes = self.form.rgb(&whole[header..]);
        Ok(Content::Rgb { height: self.form.height, width: self.form.width })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(pixels: Pixels, bytes: &[u8]) -> Vec<u8> {
        let part = Part { place: "x".into(), blob: Blob::Memory(bytes.to_vec()), offset: 1, records: 1 };
        let records = Records::new(Form { header: 1, height: 2, width: 3, pixels }, vec![part]);
        let mut rgb = Vec::new();
        assert_eq!(records.read(0, &mut rgb), Ok(Content::Rgb { height: 2, width: 3 }));
        rgb
    }

    #[test]
    fn pixels_are_put_in_order() {
        let bytes: Vec<u8> = (0..20).map(|i| i + 98).collect();
        let reds = |rgb: Vec<u8>| rgb.iter().step_by(3).map(|v| v - 100).collect::<Vec<_>>();
        assert_eq!(reds(one(Pixels::Planes, &bytes)), [0, 1, 2, 3, 4, 5]);
        assert_eq!(reds(one(Pixels::Columns, &bytes)), [0, 2, 4, 1, 3, 5]);
        assert_eq!(one(Pixels::Planes, &bytes)[..3], [100, 106, 112]);
        assert_eq!(one(Pixels::Grey, &bytes)[3..6], [101, 101, 101]);
    }

    #[test]
    fn records_are_found_and_named_across_parts() {
        let form = Form { header: 0, height: 1, width: 1, pixels: Pixels::Grey };
        let part = |place: &str, bytes: &[u8]| Part {
            place: place.into(),
            blob: Blob::Memory(bytes.to_vec()),
            offset: 0,
            records: bytes.len(),
        };
        let records = Records::new(form, vec![part("a", &[1, 2]), part("none", &[]), part("b", &[3])]);
        let mut rgb = Vec::new();
        records.read(2, &mut rgb).unwrap();
        assert_eq!(rgb, [3, 3, 3]);
        assert_eq!((records.name(1), records.name(2)), ("a, record 1".into(), "b, record 0".into()));
        assert!(records.read(3, &mut rgb).is_err());
    }
}
