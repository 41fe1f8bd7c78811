//! Protocol Buffers, as far as ONNX needs them: a message is its fields one after another.
//!
//! Few fields of few messages are written and none is read: a page instead of a code generator.

/// A message as bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Message(pub Vec<u8>);

/// How a field's value is laid out.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Bytes = 2,
}

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
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
        self.0.extend_from_slice(value);
        self
    }

    /// Text.
    pub fn text(self, field: u32, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    /// A message within.
    pub fn message(self, field: u32, value: Message) -> Self {
        self.bytes(field, &value.0)
    }

    /// Messages, each as a field of its own.
    pub fn messages(self, field: u32, values: impl IntoIterator<Item = Message>) -> Self {
        values.into_iter().fold(self, |m, v| m.message(field, v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples of the format's own manual, and a number below zero: ten bytes.
    #[test]
    fn fields_are_laid_out_as_the_manual_says() {
        assert_eq!(Message::default().int(1, 150).0, [0x08, 0x96, 0x01]);
        assert_eq!(Message::default().text(2, "testing").0, b"\x12\x07testing");
        let inner = Message::default().int(1, 150);
        assert_eq!(Message::default().message(3, inner).0, [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let below = Message::default().int(1, -1).0;
        assert_eq!((below.len(), below[10]), (11, 1));
        assert_eq!(Message::default().ints(20, &[1, 300]).0, [0xa0, 1, 1, 0xa0, 1, 0xac, 2]);
    }
}
