//! Protocol Buffers, as far as ONNX needs them: a message is its fields one after another.
//!
//! Few fields of few messages are written and none is read: a page instead of a code generator.

use crate::{Error, Result};
use std::io::Write;
use std::path::Path;

/// Floats converted to bytes at a time.
const CHUNK: usize = 1 << 14;

/// A message: its bytes, but for large values, which only have their places until it is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    parts: Vec<Part>,
    length: usize,
}

#[derive(Clone, Debug)]
enum Part {
    Bytes(Vec<u8>),
    /// So many 32-bit floats, the lowest byte first, known by a number.
    Floats {
        key: usize,
        count: usize,
    },
}

/// How a field's value is laid out.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Bytes = 2,
}

impl Message {
    /// Its bytes when it is written.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Writes it; `floats` gives the values of a key when their turn comes.
    ///
    /// # Errors
    /// Of `out`, as an error of `path`, and of `floats`; another number of values than was announced.
    pub fn write(
        &self,
        out: &mut dyn Write,
        path: &Path,
        floats: &mut dyn FnMut(usize) -> Result<Vec<f32>>,
    ) -> Result<()> {
        for part in &self.parts {
            match part {
                Part::Bytes(bytes) => out.write_all(bytes).map_err(Error::io(path))?,
                Part::Floats { key, count } => {
                    let values = floats(*key)?;
                    if values.len() != *count {
                        let message = format!("{} values came for {count}", values.len());
                        return Err(Error::data(path.display().to_string(), message));
                    }
                    for chunk in values.chunks(CHUNK) {
                        let bytes: Vec<u8> = chunk.iter().flat_map(|v| v.to_le_bytes()).collect();
                        out.write_all(&bytes).map_err(Error::io(path))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        match self.parts.last_mut() {
            Some(Part::Bytes(last)) => last.extend_from_slice(bytes),
            _ => self.parts.push(Part::Bytes(bytes.to_vec())),
        }
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(&[value as u8 | 0x80]);
            value >>= 7;
        }
        self.push(&[value as u8]);
    }

    fn key(&mut self, field: u32, wire: Wire) {
        self.varint(u64::from(field << 3 | wire as u32));
    }

    /// A whole number (`int32`, `int64`, an enumeration).
    pub fn int(mut self, field: u32, value: i64) -> Self {
        self.key(field, Wire::Varint);
        self.varint(value.cast_unsigned());
        self
    }

    /// Whole numbers, each as a field of its own.
    pub fn ints(self, field: u32, values: &[i64]) -> Self {
        values.iter().fold(self, |m, v| m.int(field, *v))
    }

    /// Bytes.
    pub fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        self.key(field, Wire::Bytes);
        self.varint(value.len() as u64);
        self.push(value);
        self
    }

    /// `count` floats as bytes, which [`Message::write`] asks for by `key`.
    pub fn floats(mut self, field: u32, key: usize, count: usize) -> Self {
        let bytes = count * size_of::<f32>();
        self.key(field, Wire::Bytes);
        self.varint(bytes as u64);
        self.parts.push(Part::Floats { key, count });
        self.length += bytes;
        self
    }

    /// Text.
    pub fn text(self, field: u32, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    /// A message within.
    pub fn message(mut self, field: u32, value: Message) -> Self {
        self.key(field, Wire::Bytes);
        self.varint(value.length as u64);
        for part in value.parts {
            match part {
                Part::Bytes(bytes) => self.push(&bytes),
                Part::Floats { count, .. } => {
                    self.length += count * size_of::<f32>();
                    self.parts.push(part);
                }
            }
        }
        self
    }

    /// Messages, each as a field of its own.
    pub fn messages(self, field: u32, values: impl IntoIterator<Item = Message>) -> Self {
        values.into_iter().fold(self, |m, v| m.message(field, v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        message.write(&mut out, Path::new("x"), &mut |key| Ok(vec![key as f32; 2])).unwrap();
        assert_eq!(out.len(), message.len());
        out
    }

    /// Examples of the format's own manual, and a number below zero: ten bytes.
    #[test]
    fn fields_are_laid_out_as_the_manual_says() {
        assert_eq!(bytes(&Message::default().int(1, 150)), [0x08, 0x96, 0x01]);
        assert_eq!(bytes(&Message::default().text(2, "testing")), b"\x12\x07testing");
        let inner = Message::default().int(1, 150);
        assert_eq!(bytes(&Message::default().message(3, inner)), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let below = bytes(&Message::default().int(1, -1));
        assert_eq!((below.len(), below[10]), (11, 1));
        assert_eq!(bytes(&Message::default().ints(20, &[1, 300])), [0xa0, 1, 1, 0xa0, 1, 0xac, 2]);
    }

    #[test]
    fn values_that_come_later_lie_as_those_that_are_there() {
        let floats: Vec<u8> = [3f32, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let wrap = |inner: Message| Message::default().int(1, 7).message(2, inner.int(4, 1)).text(3, "end");
        let (later, now) = (Message::default().floats(9, 3, 2), Message::default().bytes(9, &floats));
        assert_eq!(bytes(&wrap(later)), bytes(&wrap(now)));
        let three = Message::default().floats(9, 3, 3);
        assert!(three.write(&mut Vec::new(), Path::new("x"), &mut |_| Ok(vec![0.0; 2])).is_err());
    }
}
