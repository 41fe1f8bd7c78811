//! Floats as files and messages have them: of 32 bits, little-endian.

use std::borrow::Cow;

/// Their bytes: where the machine has them in this order, the same memory.
pub(crate) fn bytes_of(values: &[f32]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        return Cow::Borrowed(bytemuck::cast_slice(values));
    }
    Cow::Owned(values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

/// Adds the whole floats of `bytes` to `values`.
pub(crate) fn add_floats(values: &mut Vec<f32>, bytes: &[u8]) {
    let floats = bytes.as_chunks::<4>().0;
    let first = values.len();
    values.resize(first + floats.len(), 0.0);
    if let Some(room) = values.get_mut(first..) {
        bytemuck::cast_slice_mut(room).copy_from_slice(floats);
        if cfg!(target_endian = "big") {
            room.iter_mut().for_each(|v| *v = f32::from_bits(v.to_bits().swap_bytes()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_and_their_bytes() {
        let values = [1.0, -0.0, f32::MIN_POSITIVE / 2.0, f32::INFINITY, 3.0e-39];
        let bytes: Vec<u8> = values.iter().flat_map(|v: &f32| v.to_le_bytes()).collect();
        assert_eq!(bytes_of(&values), bytes);
        let mut found = vec![7.0];
        // From where no float could lie, and a part of one behind them.
        add_floats(&mut found, &[&[0][..], &bytes, &[1, 2]].concat()[1..]);
        assert_eq!((found[0], &bytes_of(&found[1..])[..]), (7.0, &bytes[..]));
        // What is not a number keeps its bits.
        let odd = 0x7fa0_0001u32;
        found.clear();
        add_floats(&mut found, &odd.to_le_bytes());
        assert_eq!(found[0].to_bits(), odd);
    }
}
