//! Names as Python and numpy keep them: text, bytes, numpy's scalars of either, arrays of these.

use super::Item;
use super::array::{Array, Scalar};
use super::item::MOST_TEXT;

impl Item<'_, '_> {
    /// A short text: Python's ([`Item::text`]), or a scalar of numpy's.
    pub fn name(self) -> Option<String> {
        match self.text() {
            Some(text) => Some(text.into_owned()),
            None => self.scalar().ok()?.texts()?.pop(),
        }
    }

    /// At most `most` names, of a list, a tuple or an array of one dimension.
    pub fn names(self, most: usize) -> Option<Vec<String>> {
        if let Some(items) = self.sequence() {
            return items.take(most).map(Item::name).collect();
        }
        // An array of Python's objects has them as a list.
        let reconstructed = self.callee().is_some_and(|(_, name)| name == "_reconstruct");
        let parts = if reconstructed { self.state().and_then(Item::parts) } else { None };
        if let Some(items) = parts.and_then(|parts| parts.last().and_then(|last| last.sequence())) {
            return items.take(most).map(Item::name).collect();
        }
        let array = self.array().ok().filter(|array| array.shape.len() == 1 && array.shape[0] <= most)?;
        array.texts()
    }
}

impl Array<'_> {
    /// The elements in C's order, if these are text of up to 4 KiB each, without the zeros that fill them up.
    pub fn texts(&self) -> Option<Vec<String>> {
        let text = |bytes: &[u8]| match self.scalar {
            Scalar::Bytes(_) => {
                let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
                let bytes = &bytes[..end];
                Some(
                    String::from_utf8(bytes.to_vec())
                        .unwrap_or_else(|_| bytes.iter().copied().map(char::from).collect()),
                )
            }
            Scalar::Characters(_) => {
                let number = |c: &[u8]| {
                    let [a, b, c, d] = *c.first_chunk()?;
                    char::from_u32(match self.big_endian {
                        true => u32::from_be_bytes([a, b, c, d]),
                        false => u32::from_le_bytes([a, b, c, d]),
                    })
                };
                let text: Option<String> = bytes.chunks_exact(4).map(number).collect();
                text.map(|text| text.trim_end_matches('\0').to_owned())
            }
            _ => None,
        };
        (self.scalar.size() <= 4 * MOST_TEXT).then(|| self.in_order().map(text).collect())?
    }
}
