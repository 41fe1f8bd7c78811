//! Messages between stages as bytes.

use super::link::{Message, MessageKind, Values, broken};
use crate::{Error, Result};
use mlaan_engine::{DType, Shape};

/// Types by their number in a message.
const TYPES: [DType; 5] = [DType::F32, DType::Bf16, DType::F64, DType::U32, DType::U8];
/// Of no cascade.
const NONE: u64 = u64::MAX;

/// Writes numbers and bytes behind each other.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// One number.
    pub fn number(mut self, n: u64) -> Self {
        self.0.extend(n.to_le_bytes());
        self
    }

    /// Bytes, with their number before.
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let mut written = self.number(bytes.len() as u64);
        written.0.extend(bytes);
        written
    }

    /// Numbers of 32 bits, likewise.
    pub fn words(self, words: &[u32]) -> Self {
        self.bytes(&words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>())
    }

    /// What was written.
    pub fn done(self) -> Vec<u8> {
        self.0
    }
}

/// Reads what a [`Writer`] wrote.
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next number.
    ///
    /// # Errors
    /// When the message ends before.
    pub fn number(&mut self) -> Result<u64> {
        let (number, rest) = self.0.split_first_chunk().ok_or_else(short)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*number))
    }

    /// As [`Reader::number`], of things.
    pub fn count(&mut self) -> Result<usize> {
        usize::try_from(self.number()?).map_err(|_| short())
    }

    /// The next bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let n = self.count()?;
        let (bytes, rest) = self.0.split_at_checked(n).ok_or_else(short)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// The next numbers of 32 bits.
    pub fn words(&mut self) -> Result<Vec<u32>> {
        let word = |b: &[u8]| b.try_into().map(u32::from_le_bytes).map_err(|_| short());
        self.bytes()?.chunks(4).map(word).collect()
    }
}

fn short() -> Error {
    broken("a message of another rank is too short: all ranks must be of one version".into())
}

impl Values {
    /// Behind what was written.
    pub fn write(&self, to: Writer) -> Writer {
        let kind = TYPES.iter().position(|t| *t == self.dtype()).unwrap_or(0);
        let dims = self.shape();
        let dims = dims.dims();
        let to = to.number(kind as u64).number(dims.len() as u64);
        dims.iter().fold(to, |to, &n| to.number(n as u64)).bytes(self.raw())
    }

    /// The next ones.
    ///
    /// # Errors
    /// What no [`Values::write`] writes.
    pub fn read(from: &mut Reader<'_>) -> Result<Self> {
        let dtype = TYPES.get(from.count()?).copied().ok_or_else(short)?;
        let dims = (0..from.count()?.min(5)).map(|_| from.count()).collect::<Result<Vec<usize>>>()?;
        let shape: Shape = match *dims.as_slice() {
            [a] => [a].into(),
            [a, b] => [a, b].into(),
            [a, b, c] => [a, b, c].into(),
            [a, b, c, d] => [a, b, c, d].into(),
            _ => return Err(short()),
        };
        let bytes = from.bytes()?.to_vec();
        match bytes.is_empty() || bytes.len() == shape.elements() * dtype.bytes() {
            true => Ok(Values::from_raw(shape, dtype, bytes)),
            false => Err(short()),
        }
    }
}

impl Message {
    /// As bytes.
    pub fn write(&self) -> Vec<u8> {
        let cascade = self.cascade.map_or(NONE, |j| j as u64);
        // In one piece: they may be many megabytes.
        let bytes: usize = self.values.iter().map(|v| 64 + v.raw().len()).sum();
        let header = Writer(Vec::with_capacity(64 + bytes))
            .number(self.batch)
            .number(cascade)
            .number(self.values.len() as u64);
        self.values.iter().fold(header, |to, values| values.write(to)).done()
    }

    /// What [`Message::write`] wrote.
    ///
    /// # Errors
    /// When it did not.
    pub fn read(kind: MessageKind, bytes: &[u8]) -> Result<Self> {
        let mut from = Reader(bytes);
        let (batch, cascade) = (from.number()?, from.number()?);
        let values = (0..from.count()?).map(|_| Values::read(&mut from)).collect::<Result<_>>()?;
        Ok(Message {
            batch,
            kind,
            cascade: usize::try_from(cascade).ok().filter(|_| cascade != NONE),
            values,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_bits_and_short_ones_are_refused() {
        let values = vec![
            Values::from_raw([2, 1].into(), DType::F32, vec![0, 0, 192, 127, 1, 2, 3, 4]),
            Values::from_raw([1, 1, 1, 3].into(), DType::Bf16, vec![9; 6]),
            Values::from_raw([7].into(), DType::F32, Vec::new()),
        ];
        for cascade in [None, Some(3)] {
            let message =
                Message { batch: 117, kind: MessageKind::Gradient, cascade, values: values.clone() };
            let bytes = message.write();
            assert_eq!(Message::read(MessageKind::Gradient, &bytes).unwrap(), message);
            for n in 0..bytes.len() {
                assert!(Message::read(MessageKind::Gradient, &bytes[..n]).is_err(), "{n} bytes");
            }
        }
    }
}
