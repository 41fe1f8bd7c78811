//! Tensors of a file: their sizes, and where their values lie.

use crate::pickle::Element;
use std::collections::BTreeMap;

/// Tensors by their names.
pub(super) type Tensors = BTreeMap<String, Entry>;

/// One tensor.
pub(super) struct Entry {
    pub shape: Vec<usize>,
    pub place: Place,
}

/// Where a tensor's values lie.
pub(super) enum Place {
    /// In a file, from this byte on, one after another.
    File { element: Element, start: u64 },
    /// In an archive.
    Archive(crate::pickle::TensorRef),
}

/// Elements, the lowest byte first, as 32-bit floats.
pub(super) fn floats(element: Element, bytes: &[u8]) -> Vec<f32> {
    fn each<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|b| f(*b)).collect()
    }
    match element {
        Element::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
        Element::F32 => each(bytes, f32::from_le_bytes),
        Element::F16 => each(bytes, |b| half(u16::from_le_bytes(b))),
        Element::Bf16 => each(bytes, |[a, b]: [u8; 2]| f32::from_le_bytes([0, 0, a, b])),
        Element::I64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
        Element::I32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
        Element::I16 => each(bytes, |b| i16::from_le_bytes(b).into()),
        Element::I8 => each(bytes, |b| i8::from_le_bytes(b).into()),
        Element::U8 | Element::Bool => each(bytes, |[b]: [u8; 1]| b.into()),
    }
}

/// A float of IEEE 754's 16 bits.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (bits >> 10 & 0x1f, f32::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction / 16_777_216.0,
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        e => (1.0 + fraction / 1024.0) * f32::from(e).mul_add(1.0, -15.0).exp2(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_what_ieee_says() {
        let cases = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2f32.powi(-24)),
            (0x3555, 0.33325195),
        ];
        for (bits, value) in cases {
            assert_eq!(half(bits), value, "{bits:#x}");
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
        assert_eq!(floats(Element::Bf16, &[0x80, 0x3f, 0x00, 0xc0]), [1.0, -2.0]);
        assert_eq!(floats(Element::I8, &[0xff]), [-1.0]);
    }
}
