//! Instructions' operands, borrowed from the input.

use std::borrow::Cow;

/// The input and how far it was read.
pub(super) struct Reader<'a> {
    input: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Reader { input, at: 0 }
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let left = self.input.len() - self.at;
        let taken = self.at.checked_add(count).and_then(|end| self.input.get(self.at..end));
        let taken = taken.ok_or_else(|| format!("{count} bytes are announced and {left} are left"))?;
        self.at += count;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, String> {
        self.array::<1>().map(|[b]| b)
    }

    /// An unsigned length or index of `N` bytes.
    pub(super) fn unsigned<const N: usize>(&mut self) -> Result<usize, String> {
        let value = self.array::<N>()?.iter().rev().fold(0_u64, |v, b| v << 8 | u64::from(*b));
        usize::try_from(value).map_err(|_| format!("a length of {value} is impossible"))
    }

    /// A length written as a signed number of 32 bits.
    pub(super) fn signed_length(&mut self) -> Result<usize, String> {
        let value = i32::from_le_bytes(self.array()?);
        usize::try_from(value).map_err(|_| format!("a length of {value} is impossible"))
    }

    /// A line, without its end.
    pub(super) fn line(&mut self) -> Result<&'a [u8], String> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|b| *b == b'\n').ok_or("a line has no end")?;
        self.at += end + 1;
        Ok(&rest[..end])
    }

    /// A line of ASCII text.
    pub(super) fn text_line(&mut self) -> Result<&'a str, String> {
        std::str::from_utf8(self.line()?).map_err(|_| "a line is not text".into())
    }
}

/// Python's UTF-8, in which halves of surrogate pairs may stand: these become U+FFFD.
pub(super) fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// A string literal of Python 2, as protocol 0 writes `str`.
pub(super) fn unquoted(line: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    let inner = match line {
        [a @ (b'\'' | b'"'), inner @ .., b] if a == b => inner,
        _ => return Err("a string is not in quotes".into()),
    };
    if !inner.contains(&b'\\') {
        return Ok(Cow::Borrowed(inner));
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next() {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'x') => {
                digits(&mut bytes, 2).and_then(|v| u8::try_from(v).ok()).ok_or("\\x lacks digits")?
            }
            Some(same @ (b'\\' | b'\'' | b'"')) => same,
            _ => return Err("a string holds an unknown escape".into()),
        });
    }
    Ok(Cow::Owned(out))
}

/// Python's raw-unicode-escape, as protocol 0 writes text: Latin-1, with `\u` and `\U`.
pub(super) fn unescaped(line: &[u8]) -> Result<Cow<'_, str>, String> {
    if line.is_ascii() && !line.contains(&b'\\') {
        return Ok(utf8(line));
    }
    let mut out = String::with_capacity(line.len());
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let count = match (byte, bytes.peek()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                out.push(char::from(byte));
                continue;
            }
        };
        bytes.next();
        let code = digits(&mut bytes, count).ok_or("\\u lacks digits")?;
        out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    Ok(Cow::Owned(out))
}

fn digits(bytes: &mut impl Iterator<Item = u8>, count: usize) -> Option<u32> {
    (0..count).try_fold(0, |v, _| Some(v << 4 | char::from(bytes.next()?).to_digit(16)?))
}
