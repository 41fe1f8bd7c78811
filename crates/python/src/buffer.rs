//! Pixels that lie in the memory of Python objects.

use crate::errors::DataError;
use crate::interpreter;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;

/// Images `[n, height, width, 3]` of an object with the buffer protocol, where they lie. The object keeps them there.
pub struct Pixels {
    /// There until it is dropped.
    buffer: Option<PyBuffer<u8>>,
    /// Number, height and width.
    pub shape: [usize; 3],
}

impl Pixels {
    /// Those of an object, which is not copied.
    ///
    /// # Errors
    /// Other types, shapes or layouts.
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let buffer = PyBuffer::<u8>::get(object)
            .map_err(|e| DataError::new_err(format!("images must be of type uint8: {e}")))?;
        let &[n, height, width, 3] = buffer.shape() else {
            let shape = buffer.shape();
            return Err(DataError::new_err(format!("images must be [n, height, width, 3], found {shape:?}")));
        };
        if !buffer.is_c_contiguous() {
            return Err(DataError::new_err(
                "images must lie one behind the other: numpy.ascontiguousarray makes them so",
            ));
        }
        if height == 0 || width == 0 {
            return Err(DataError::new_err(format!("images of {width}x{height} pixels have none")));
        }
        Ok(Pixels { buffer: Some(buffer), shape: [n, height, width] })
    }

    /// Where they lie.
    pub fn address(&self) -> usize {
        self.bytes().as_ptr() as usize
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        let Some(buffer) = &self.buffer else { return &[] };
        let (first, n) = (buffer.buf_ptr().cast::<u8>(), buffer.len_bytes());
        if n == 0 {
            return &[];
        }
        // SAFETY: the buffer is contiguous (checked in `of`), of `n` initialised bytes, and is neither moved nor freed before it is
        // released, which is when `self` is dropped. As with `torch.from_numpy`, Python programs must not write to an array while
        // it is used; bytes of any value are valid if one does.
        unsafe { std::slice::from_raw_parts(first, n) }
    }

    /// The bytes of an image.
    pub fn image(&self, index: usize) -> Option<&[u8]> {
        let [_, height, width] = self.shape;
        let one = height * width * 3;
        self.bytes().get(index.checked_mul(one)?..(index + 1).checked_mul(one)?)
    }
}

impl Drop for Pixels {
    fn drop(&mut self) {
        // A thread that was left must not wait for the lock of an interpreter that ends: that would end it, or the process.
        if interpreter::is_ending() {
            std::mem::forget(self.buffer.take());
        }
    }
}
