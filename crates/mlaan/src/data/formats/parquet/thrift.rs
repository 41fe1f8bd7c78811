//! Thrift's compact protocol, in which parquet describes itself: read into values whose number and depth the bytes bound.
//!
//! The parquet crate reads it too, but skips what it does not know by the counts that the file claims: a list of truth values
//! takes no bytes there, so a few bytes keep it busy for years.

/// How deep values may lie in each other; parquet's have about eight levels.
const DEPTH: usize = 24;
/// Most values, of some 40 bytes each: a footer has about fifty for every column of a row group.
const MOST: usize = 1 << 22;

/// Why bytes cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// They end too early.
    End,
    /// They are nothing that the protocol has.
    Malformed,
}

/// A value; text and bytes are borrowed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// A truth value.
    Flag(bool),
    /// A whole number of any width.
    Number(i64),
    /// Text or bytes.
    Bytes(&'a [u8]),
    /// A list or a set.
    List(Vec<Value<'a>>),
    /// Fields.
    Struct(Struct<'a>),
    /// A float, a map, an identifier: passed over, since nothing that is read has them.
    Other,
}

/// Fields by their numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Struct<'a>(Vec<(i16, Value<'a>)>);

impl<'a> Struct<'a> {
    fn get(&self, id: i16) -> Option<&Value<'a>> {
        self.0.iter().find(|(field, _)| *field == id).map(|(_, value)| value)
    }

    /// A whole number.
    pub fn number(&self, id: i16) -> Option<i64> {
        match self.get(id)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A whole number that is a size, a count or a place.
    pub fn size(&self, id: i16) -> Option<u64> {
        u64::try_from(self.number(id)?).ok()
    }

    /// A truth value.
    pub fn flag(&self, id: i16) -> Option<bool> {
        match self.get(id)? {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        }
    }

    /// Text.
    pub fn text(&self, id: i16) -> Option<&'a str> {
        match self.get(id)? {
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Fields within.
    pub fn within(&self, id: i16) -> Option<&Struct<'a>> {
        match self.get(id)? {
            Value::Struct(fields) => Some(fields),
            _ => None,
        }
    }

    /// Whether there is anything under this number.
    pub fn has(&self, id: i16) -> bool {
        self.get(id).is_some()
    }

    /// The elements of a list that are structs.
    pub fn structs(&self, id: i16) -> impl Iterator<Item = &Struct<'a>> {
        let list = match self.get(id) {
            Some(Value::List(list)) => list.as_slice(),
            _ => &[],
        };
        list.iter().filter_map(|value| match value {
            Value::Struct(fields) => Some(fields),
            _ => None,
        })
    }
}

/// The struct at the start of `bytes`, and how many of them it takes.
///
/// # Errors
/// See [`Fault`].
pub(super) fn parse(bytes: &[u8]) -> Result<(Struct<'_>, usize), Fault> {
    let mut reader = Reader { bytes, at: 0, left: MOST };
    let fields = reader.fields(DEPTH)?;
    Ok((fields, reader.at))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Values that may still be read.
    left: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(count).ok_or(Fault::Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Fault::End)?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// One more value.
    fn count(&mut self) -> Result<(), Fault> {
        self.left = self.left.checked_sub(1).ok_or(Fault::Malformed)?;
        Ok(())
    }

    /// Seven bits a byte, the lowest first.
    fn unsigned(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Fault::Malformed)
    }

    /// The lowest bit is the sign.
    fn signed(&mut self) -> Result<i64, Fault> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn fields(&mut self, depth: usize) -> Result<Struct<'a>, Fault> {
        let (mut fields, mut last) = (Vec::new(), 0_i16);
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(Struct(fields));
            }
            last = match head >> 4 {
                0 => i16::try_from(self.signed()?).map_err(|_| Fault::Malformed)?,
                step => last.checked_add(step.into()).ok_or(Fault::Malformed)?,
            };
            let value = match head & 0x0F {
                1 => Value::Flag(true),
                2 => Value::Flag(false),
                kind => self.value(kind, depth)?,
            };
            self.count()?;
            fields.push((last, value));
        }
    }

    /// A value that has bytes of its own.
    fn value(&mut self, kind: u8, depth: usize) -> Result<Value<'a>, Fault> {
        let within = depth.checked_sub(1).ok_or(Fault::Malformed)?;
        Ok(match kind {
            1 | 2 => Value::Flag(self.byte()? == 1),
            3 => Value::Number((self.byte()? as i8).into()),
            4..=6 => Value::Number(self.signed()?),
            7 => self.take(8).map(|_| Value::Other)?,
            8 => {
                let length = self.unsigned()?;
                Value::Bytes(self.take(usize::try_from(length).map_err(|_| Fault::Malformed)?)?)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.unsigned()? } else { u64::from(head >> 4) };
                self.list(count, &[head & 0x0F], within)?
            }
            11 => {
                let count = self.unsigned()?;
                if count > 0 {
                    let kinds = self.byte()?;
                    self.list(count, &[kinds >> 4, kinds & 0x0F], within)?;
                }
                Value::Other
            }
            12 => Value::Struct(self.fields(within)?),
            13 => self.take(16).map(|_| Value::Other)?,
            _ => return Err(Fault::Malformed),
        })
    }

    /// `count` times values of these kinds, each of which takes a byte at least.
    fn list(&mut self, count: u64, kinds: &[u8], depth: usize) -> Result<Value<'a>, Fault> {
        if count > (self.bytes.len() - self.at) as u64 {
            return Err(Fault::End);
        }
        let mut list = Vec::new();
        for _ in 0..count {
            for kind in kinds {
                self.count()?;
                list.push(self.value(*kind, depth)?);
            }
        }
        Ok(Value::List(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind() {
        // 1: true, 2: -3, 4 (a step of 2): "ab", 5: [7, 8], 300 (by its number): {1: 1}.
        let bytes = [
            &[0x11, 0x15, 0x05, 0x28, 2][..],
            b"ab",
            &[0x19, 0x25, 14, 16],
            &[0x0C, 0xD8, 0x04, 0x15, 2, 0, 0],
        ];
        let bytes = bytes.concat();
        let (fields, length) = parse(&bytes).unwrap();
        assert_eq!(length, bytes.len());
        assert_eq!((fields.flag(1), fields.number(2), fields.size(2)), (Some(true), Some(-3), None));
        assert_eq!(fields.text(4), Some("ab"));
        assert_eq!(fields.get(5), Some(&Value::List(vec![Value::Number(7), Value::Number(8)])));
        assert_eq!(fields.within(300).unwrap().number(1), Some(1));
        assert!(!fields.has(3));
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Err(Fault::End));
        }
    }

    #[test]
    fn claims_are_bounded_by_bytes() {
        // Two thousand million truth values, and as many pairs of them, in no bytes.
        for claim in
            [&[0x19, 0xF1, 0xFF, 0xFF, 0xFF, 0xFF, 7, 0][..], &[0x1B, 0xFF, 0xFF, 0xFF, 0xFF, 7, 0x11, 0]]
        {
            assert_eq!(parse(claim), Err(Fault::End));
        }
        assert_eq!(parse(&[0x18, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0]), Err(Fault::End));
        // Five million empty structs in a list of that many bytes.
        let many = [&[0x19, 0xFC, 0xC0, 0x96, 0xB1, 2][..], &[0; 5_000_001]].concat();
        assert_eq!(parse(&many), Err(Fault::Malformed));
        // Lists in lists, structs in structs: a level a byte.
        assert_eq!(parse(&[&[0x19][..], &[0x19; 100_000]].concat()), Err(Fault::Malformed));
        assert_eq!(parse(&[0x1C; 100_000]), Err(Fault::Malformed));
    }
}
