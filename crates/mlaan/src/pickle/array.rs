//! numpy's arrays, as every version of it pickles them.

use super::Item;
use super::item::{MOST_TEXT, shown};
use std::borrow::Cow;

/// The type of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// Truth values.
    Bool,
    /// Unsigned integers of so many bytes.
    Unsigned(usize),
    /// Signed integers of so many bytes.
    Signed(usize),
    /// Floats of so many bytes.
    Float(usize),
    /// Text of so many bytes, filled up with zeros.
    Bytes(usize),
    /// Text of so many characters, of four bytes each.
    Characters(usize),
}

impl Scalar {
    /// By numpy's code, as `u1`.
    fn of(code: &str) -> Option<Self> {
        Some(match code {
            "b1" => Scalar::Bool,
            "u1" => Scalar::Unsigned(1),
            "u2" => Scalar::Unsigned(2),
            "u4" => Scalar::Unsigned(4),
            "u8" => Scalar::Unsigned(8),
            "i1" => Scalar::Signed(1),
            "i2" => Scalar::Signed(2),
            "i4" => Scalar::Signed(4),
            "i8" => Scalar::Signed(8),
            "f4" => Scalar::Float(4),
            "f8" => Scalar::Float(8),
            _ => {
                let (kind, length) = code.split_at_checked(1)?;
                let length = length.parse().ok().filter(|length| (1..=MOST_TEXT).contains(length))?;
                match kind {
                    "S" => Scalar::Bytes(length),
                    "U" => Scalar::Characters(length),
                    _ => return None,
                }
            }
        })
    }

    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Scalar::Bool => 1,
            Scalar::Unsigned(size) | Scalar::Signed(size) | Scalar::Float(size) | Scalar::Bytes(size) => size,
            Scalar::Characters(length) => 4 * length,
        }
    }
}

/// An array: numpy's `ndarray`, or a scalar (no sizes).
#[derive(Clone, Debug, PartialEq)]
pub struct Array<'p> {
    /// Extents; their product fits the bytes.
    pub shape: Vec<usize>,
    /// Type of the elements.
    pub scalar: Scalar,
    /// Elements from one index to the next, along every size; none where the last index runs fastest (C's order).
    pub steps: Option<Vec<usize>>,
    /// Whether the highest byte of an element is first.
    pub big_endian: bool,
    /// The elements, in the order that `steps` say.
    pub data: Cow<'p, [u8]>,
}

impl<'p> Item<'p, '_> {
    /// The value as an array of numbers.
    ///
    /// # Errors
    /// What it is instead, or what is wrong with it.
    pub fn array(self) -> Result<Array<'p>, String> {
        let (module, name) =
            self.callee().ok_or_else(|| format!("{} instead of an array", self.describe()))?;
        let arguments = self.arguments().unwrap_or_default();
        match (module, name, arguments.as_slice()) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct", _) => {
                let state = self.state().and_then(Item::parts).unwrap_or_default();
                let [_, shape, dtype, fortran, data] = state.as_slice() else {
                    return Err("an array's state has not 5 parts".into());
                };
                whole(*shape, *dtype, fortran.extent() == Some(1), *data)
            }
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer", [data, dtype, shape, order]) => {
                whole(*shape, *dtype, order.text().is_some_and(|o| o == "F"), *data)
            }
            ("numpy._core.numeric", "_frombuffer", [data, dtype, shape, _, axes]) => {
                let array = whole(*shape, *dtype, false, *data)?;
                axes.extents()
                    .and_then(|axes| array.transposed(&axes))
                    .ok_or_else(|| "an array's axes are no order of its sizes".into())
            }
            _ => self.scalar(),
        }
    }

    /// The value as an array without sizes: one of numpy's scalars.
    pub(super) fn scalar(self) -> Result<Array<'p>, String> {
        let arguments = self.arguments().unwrap_or_default();
        match (self.callee(), arguments.as_slice()) {
            (Some(("numpy.core.multiarray" | "numpy._core.multiarray", "scalar")), [dtype, data]) => {
                let (scalar, big_endian) = element(*dtype)?;
                checked(Vec::new(), scalar, big_endian, *data)
            }
            _ => Err(format!("{} instead of an array", self.describe())),
        }
    }
}

fn whole<'p>(
    shape: Item<'p, '_>,
    dtype: Item<'p, '_>,
    fortran: bool,
    data: Item<'p, '_>,
) -> Result<Array<'p>, String> {
    let extents = shape.extents().ok_or("an array's shape is no tuple of sizes")?;
    let (scalar, big_endian) = element(dtype)?;
    let steps = fortran.then(|| firsts(extents.iter()));
    Ok(Array { steps, ..checked(extents, scalar, big_endian, data)? })
}

fn checked<'p>(
    shape: Vec<usize>,
    scalar: Scalar,
    big_endian: bool,
    data: Item<'p, '_>,
) -> Result<Array<'p>, String> {
    let needed = shape.iter().try_fold(scalar.size(), |n, e| n.checked_mul(*e));
    let found = needed.and_then(|n| data.bytes_up_to(n).filter(|bytes| bytes.len() == n));
    let data = found.ok_or_else(|| {
        format!("{} instead of the bytes of an array of shape {shape:?} and {scalar:?}", data.describe())
    })?;
    Ok(Array { shape, scalar, steps: None, big_endian, data })
}

/// Type and order of bytes of a `dtype`.
fn element(dtype: Item<'_, '_>) -> Result<(Scalar, bool), String> {
    let unknown = || format!("elements that are {}: integers and floats are read", dtype.describe());
    if dtype.callee() != Some(("numpy", "dtype")) {
        return Err(unknown());
    }
    let code = dtype.arguments().unwrap_or_default().first().and_then(|c| c.text()).ok_or_else(unknown)?;
    let order = dtype.state().and_then(Item::sequence).and_then(|mut s| s.nth(1)).and_then(Item::text);
    let scalar =
        Scalar::of(&code).ok_or_else(|| format!("elements of type {:?} are not read", shown(&code)))?;
    Ok((scalar, order.is_some_and(|o| o == ">")))
}

impl Array<'_> {
    /// The elements as bytes in C's order, if these are unsigned bytes.
    pub fn unsigned_bytes(&self) -> Option<Cow<'_, [u8]>> {
        match self.scalar {
            Scalar::Unsigned(1) if self.steps.is_none() => Some(Cow::Borrowed(&*self.data)),
            Scalar::Unsigned(1) => Some(Cow::Owned(self.in_order().flatten().copied().collect())),
            _ => None,
        }
    }

    /// The elements in C's order, if these are integers that 64 bits hold.
    pub fn integers(&self) -> Option<Vec<i64>> {
        let signed = match self.scalar {
            Scalar::Bool | Scalar::Unsigned(_) => false,
            Scalar::Signed(_) => true,
            Scalar::Float(_) | Scalar::Bytes(_) | Scalar::Characters(_) => return None,
        };
        let integer = |bytes: &[u8]| {
            let wide = self.widened(bytes, signed);
            let value = i64::from_le_bytes(wide);
            (signed || value >= 0).then_some(value)
        };
        self.in_order().map(integer).collect()
    }

    /// The elements in C's order, if these are floats; those of 64 bits are rounded.
    pub fn floats(&self) -> Option<Vec<f32>> {
        let float = |bytes: &[u8]| {
            let [a, b, c, d, ..] = self.widened(bytes, false);
            match self.scalar {
                Scalar::Float(4) => f32::from_le_bytes([a, b, c, d]),
                _ => f64::from_le_bytes(self.widened(bytes, false)) as f32,
            }
        };
        matches!(self.scalar, Scalar::Float(_)).then(|| self.in_order().map(float).collect())
    }

    /// The lowest byte first, in eight bytes.
    fn widened(&self, bytes: &[u8], signed: bool) -> [u8; 8] {
        let first = if self.big_endian { bytes.first() } else { bytes.last() };
        let mut wide = [if signed && first.is_some_and(|b| *b >= 0x80) { 0xff } else { 0 }; 8];
        for (i, to) in wide.iter_mut().enumerate().take(bytes.len()) {
            *to = bytes[if self.big_endian { bytes.len() - 1 - i } else { i }];
        }
        wide
    }

    /// The bytes of every element, the last index fastest.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &[u8]> {
        let (size, count) = (self.scalar.size(), self.data.len() / self.scalar.size());
        (0..count).map(move |index| {
            let place = self.steps.as_ref().map_or(index, |steps| self.place(steps, index));
            &self.data[place * size..(place + 1) * size]
        })
    }

    /// Where the element at `index` of C's order lies.
    fn place(&self, steps: &[usize], mut index: usize) -> usize {
        let mut place = 0;
        for (extent, step) in self.shape.iter().zip(steps).rev() {
            place += index % extent * step;
            index /= extent;
        }
        place
    }

    /// The array with its sizes in another order, which a view has that numpy writes as it lies in memory.
    fn transposed(self, axes: &[usize]) -> Option<Self> {
        let mut seen = vec![false; self.shape.len()];
        for axis in axes {
            if std::mem::replace(seen.get_mut(*axis)?, true) {
                return None;
            }
        }
        if axes.len() != self.shape.len() {
            return None;
        }
        let mut steps = firsts(self.shape.iter().rev());
        steps.reverse();
        let of = |list: &[usize]| axes.iter().map(|axis| list[*axis]).collect::<Vec<_>>();
        Some(Array { shape: of(&self.shape), steps: Some(of(&steps)), ..self })
    }
}

/// Elements from one index to the next, where the first of these sizes runs fastest. An array without elements has any.
fn firsts<'e>(extents: impl Iterator<Item = &'e usize>) -> Vec<usize> {
    let step = |next: &mut usize, extent: &usize| {
        let step = *next;
        *next = next.saturating_mul(*extent);
        Some(step)
    };
    extents.scan(1, step).collect()
}
