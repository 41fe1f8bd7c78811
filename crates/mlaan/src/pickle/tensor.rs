//! PyTorch's tensors: where their values lie. The values themselves are in other files of the archive.

use super::item::shown;
use super::{Item, Value};

/// The type of a storage's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// 64-bit floats.
    F64,
    /// 32-bit floats.
    F32,
    /// 16-bit floats (IEEE 754).
    F16,
    /// 16-bit floats (upper halves of 32-bit ones).
    Bf16,
    /// 64-bit integers.
    I64,
    /// 32-bit integers.
    I32,
    /// 16-bit integers.
    I16,
    /// 8-bit integers.
    I8,
    /// Bytes.
    U8,
    /// Truth values.
    Bool,
}

impl Element {
    /// By the name of PyTorch's class.
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "DoubleStorage" => Element::F64,
            "FloatStorage" => Element::F32,
            "HalfStorage" => Element::F16,
            "BFloat16Storage" => Element::Bf16,
            "LongStorage" => Element::I64,
            "IntStorage" => Element::I32,
            "ShortStorage" => Element::I16,
            "CharStorage" => Element::I8,
            "ByteStorage" => Element::U8,
            "BoolStorage" => Element::Bool,
            _ => return None,
        })
    }

    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Element::F64 | Element::I64 => 8,
            Element::F32 | Element::I32 => 4,
            Element::F16 | Element::Bf16 | Element::I16 => 2,
            Element::I8 | Element::U8 | Element::Bool => 1,
        }
    }
}

/// Elements one after another, which several tensors may share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Their type.
    pub element: Element,
    /// What the archive calls them: a file's name in `data/`.
    pub key: String,
    /// How many there are, as the pickle says.
    pub length: usize,
}

/// A tensor: a view into a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorRef {
    /// Where its values lie.
    pub storage: Storage,
    /// Elements before its first.
    pub offset: usize,
    /// Extents.
    pub shape: Vec<usize>,
    /// Elements from one index to the next, for every size.
    pub strides: Vec<usize>,
}

impl TensorRef {
    /// Number of its elements; none when that is beyond all memory.
    pub fn count(&self) -> Option<usize> {
        self.shape.iter().try_fold(1_usize, |n, e| n.checked_mul(*e))
    }

    /// Whether its elements lie one after another in C's order.
    pub fn contiguous(&self) -> bool {
        let mut stride = 1_usize;
        self.shape.iter().zip(&self.strides).rev().all(|(extent, step)| {
            let fits = *extent == 1 || *step == stride;
            stride = stride.saturating_mul(*extent);
            fits
        })
    }

    /// One past the last element of the storage that it reads; none when that is beyond all memory.
    fn end(&self) -> Option<usize> {
        if self.shape.contains(&0) {
            return Some(self.offset);
        }
        let steps = self.shape.iter().zip(&self.strides);
        let last =
            steps.map(|(e, s)| (e - 1).checked_mul(*s)).try_fold(self.offset, |at, s| at.checked_add(s?));
        last?.checked_add(1)
    }
}

impl Item<'_, '_> {
    /// The value as a tensor (or a parameter) of PyTorch.
    ///
    /// # Errors
    /// What it is instead, or what is wrong with it.
    pub fn tensor(self) -> Result<TensorRef, String> {
        let other = || match self.unread() {
            Some(what) => format!("{what}, which is not read: save the network with tensors of floats"),
            None => format!("{} instead of a tensor", self.describe()),
        };
        let (module, name) = self.callee().ok_or_else(other)?;
        let arguments = self.arguments().unwrap_or_default();
        match (module, name, arguments.as_slice()) {
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state", [inner, ..]) => {
                // Not by calling itself: a pickle may be a circle.
                inner.view().unwrap_or_else(|| Err(other()))
            }
            // A tensor with attributes of Python's.
            ("torch._tensor", "_rebuild_from_type_v2", [function, _, inner, ..])
                if function.global() == Some(("torch._utils", "_rebuild_tensor_v2")) =>
            {
                match inner.parts().unwrap_or_default().as_slice() {
                    [storage, offset, shape, strides, ..] => tensor(*storage, *offset, *shape, *strides),
                    _ => Err(other()),
                }
            }
            _ => self.view().unwrap_or_else(|| Err(other())),
        }
    }

    /// What kind of tensor it is, if it is one of those that are not read.
    fn unread(self) -> Option<String> {
        let ("torch._utils", name) = self.callee()? else { return None };
        Some(match name {
            "_rebuild_tensor_v3" => {
                let kind = self.arguments().unwrap_or_default().get(6).and_then(|kind| kind.global());
                format!("a tensor of type {}", shown(kind.map_or("unknown", |(_, name)| name)))
            }
            "_rebuild_qtensor" => "a quantised tensor".into(),
            "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor" => "a sparse tensor".into(),
            "_rebuild_meta_tensor_no_storage" => "a tensor without values (on the device `meta`)".into(),
            _ => return None,
        })
    }

    /// None if it is no view of a storage.
    fn view(self) -> Option<Result<TensorRef, String>> {
        let arguments = self.arguments()?;
        match (self.callee()?, arguments.as_slice()) {
            (
                ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor"),
                [storage, offset, shape, strides, ..],
            ) => Some(tensor(*storage, *offset, *shape, *strides)),
            _ => None,
        }
    }

    /// What [`Item::persistent`] says of a storage.
    pub(super) fn storage(self) -> Result<Storage, String> {
        let parts = self.persistent().and_then(Item::parts).unwrap_or_default();
        let [kind, class, key, _, length, rest @ ..] = parts.as_slice() else {
            return Err(format!("a tensor's values are {}", self.describe()));
        };
        if kind.text().is_none_or(|k| k != "storage") {
            return Err("a tensor's values are no storage".into());
        }
        // Where a storage begins in another one.
        if rest.first().is_some_and(|view| *view.value() != Value::None) {
            return Err(
                "its values are part of another storage, as PyTorch before 0.4 wrote them, which is not read"
                    .into(),
            );
        }
        let (_, name) = class.global().ok_or("a storage has no type")?;
        let element =
            Element::of(name).ok_or_else(|| format!("values of type {} are not read", shown(name)))?;
        let key = key.text().ok_or("a storage has no name")?.into_owned();
        Ok(Storage { element, key, length: length.extent().ok_or("a storage has no length")? })
    }
}

fn tensor(
    storage: Item<'_, '_>,
    offset: Item<'_, '_>,
    shape: Item<'_, '_>,
    strides: Item<'_, '_>,
) -> Result<TensorRef, String> {
    let tensor = TensorRef {
        storage: storage.storage()?,
        offset: offset.extent().ok_or("a tensor has no offset")?,
        shape: shape.extents().ok_or("a tensor has no shape")?,
        strides: strides.extents().ok_or("a tensor has no strides")?,
    };
    if tensor.shape.len() != tensor.strides.len() {
        return Err(format!("{} sizes and {} strides", tensor.shape.len(), tensor.strides.len()));
    }
    // Values that are read twice would be memory out of nothing.
    let count = tensor.count().filter(|n| *n <= tensor.storage.length);
    if count.is_none() || tensor.end().is_none_or(|end| end > tensor.storage.length) {
        return Err(format!("shape {:?} lies outside of its {} values", tensor.shape, tensor.storage.length));
    }
    Ok(tensor)
}
