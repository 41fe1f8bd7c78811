//! Images that a Python program has: arrays, where they lie, or a sequence whose items are asked for.

use crate::buffer::Pixels;
use crate::errors::DataError;
use crate::interpreter;
use mlaan::data::{Dataset, ImageView};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// A split of images with labels.
///
/// `pixels` is an object with the buffer protocol, uint8 `[n, height, width, 3]`, which is not copied, or a function that
/// gives image number `i` as such an object of shape `[1, height, width, 3]`.
#[pyclass(frozen, module = "mlaan._core")]
pub struct Images {
    data: Arc<dyn Dataset>,
    /// Where the bytes of an array lie.
    address: Option<usize>,
    raised: Raised,
}

/// What a function that gives images raised first.
type Raised = Arc<Mutex<Option<PyErr>>>;

#[pymethods]
impl Images {
    #[new]
    #[pyo3(signature = (pixels, labels, classes))]
    fn new(pixels: &Bound<'_, PyAny>, labels: Vec<u32>, classes: Vec<String>) -> PyResult<Self> {
        if let Some((index, label)) = labels.iter().enumerate().find(|(_, l)| **l as usize >= classes.len()) {
            let message = format!(
                "image {index}: label {label} is out of range: labels are 0 to {}",
                classes.len() as i64 - 1
            );
            return Err(DataError::new_err(message));
        }
        let known = Known { labels, classes };
        if pixels.is_callable() {
            let raised = Raised::default();
            let data = Items { fetch: pixels.clone().unbind(), known, raised: Arc::clone(&raised) };
            return Ok(Images { data: Arc::new(data), address: None, raised });
        }
        let pixels = Pixels::of(pixels)?;
        if pixels.shape[0] != known.labels.len() {
            let (n, m) = (pixels.shape[0], known.labels.len());
            return Err(DataError::new_err(format!("{n} images with {m} labels: each image has one")));
        }
        let address = Some(pixels.address());
        Ok(Images { data: Arc::new(Arrays { pixels, known }), address, raised: Raised::default() })
    }

    /// Where the bytes of an array lie; `None` for items.
    #[getter]
    fn address(&self) -> Option<usize> {
        self.address
    }

    fn __len__(&self) -> usize {
        self.data.len()
    }
}

impl Images {
    /// The images, for the library.
    pub fn data(&self) -> Arc<dyn Dataset> {
        Arc::clone(&self.data)
    }

    /// What items raised first since this was asked last.
    pub fn raised(&self) -> Option<PyErr> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What is known of every image.
struct Known {
    labels: Vec<u32>,
    classes: Vec<String>,
}

impl Known {
    fn label(&self, index: usize) -> usize {
        self.labels.get(index).map_or(0, |label| *label as usize)
    }
}

fn failed(index: usize, message: impl Into<String>) -> mlaan::Error {
    mlaan::Error::data(format!("image {index}"), message)
}

/// An array.
struct Arrays {
    pixels: Pixels,
    known: Known,
}

impl Dataset for Arrays {
    fn len(&self) -> usize {
        self.known.labels.len()
    }

    fn classes(&self) -> &[String] {
        &self.known.classes
    }

    fn label(&self, index: usize) -> usize {
        self.known.label(index)
    }

    fn image_name(&self, index: usize) -> Option<String> {
        Some(format!("image {index}"))
    }

    fn image<'a>(&'a self, index: usize, _: &'a mut Vec<u8>) -> mlaan::Result<ImageView<'a>> {
        let [_, height, width] = self.pixels.shape;
        let rgb = self.pixels.image(index).ok_or_else(|| failed(index, "the array has no such image"))?;
        Ok(ImageView { height, width, rgb })
    }

    fn whole(&self) -> Option<(usize, &[u8])> {
        let [_, height, width] = self.pixels.shape;
        (height == width).then(|| (height, self.pixels.bytes()))
    }

    fn resident_bytes(&self) -> usize {
        self.pixels.bytes().len() + self.known.labels.len() * size_of::<u32>()
    }
}

/// A sequence of Python.
struct Items {
    fetch: Py<PyAny>,
    known: Known,
    raised: Raised,
}

impl Items {
    /// Height and width; an error is text, and kept.
    fn fetched(&self, index: usize, scratch: &mut Vec<u8>) -> Result<[usize; 2], String> {
        let ends = || String::from("the interpreter ends");
        let Some(_fetching) = interpreter::fetching() else { return Err(ends()) };
        let fetched = Python::try_attach(|py| {
            self.fetch_into(py, index, scratch).map_err(|e| {
                // What is said of images needs no name of a class before it.
                let of_data = e.is_instance_of::<DataError>(py);
                let said = if of_data { e.value(py).to_string() } else { e.to_string() };
                self.raised.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
                said
            })
        });
        fetched.unwrap_or_else(|| Err(ends()))
    }

    fn fetch_into(&self, py: Python<'_>, index: usize, scratch: &mut Vec<u8>) -> PyResult<[usize; 2]> {
        let item = self.fetch.bind(py).call1((index,))?;
        let buffer = PyBuffer::<u8>::get(&item)?;
        let &[1, height, width, 3] = buffer.shape() else {
            let shape = buffer.shape();
            return Err(DataError::new_err(format!("expected [1, height, width, 3], found {shape:?}")));
        };
        scratch.resize(buffer.item_count(), 0);
        buffer.copy_to_slice(py, scratch)?;
        Ok([height, width])
    }
}

impl Dataset for Items {
    fn len(&self) -> usize {
        self.known.labels.len()
    }

    fn classes(&self) -> &[String] {
        &self.known.classes
    }

    fn label(&self, index: usize) -> usize {
        self.known.label(index)
    }

    fn image_name(&self, index: usize) -> Option<String> {
        Some(format!("image {index}"))
    }

    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> mlaan::Result<ImageView<'a>> {
        let [height, width] = self.fetched(index, scratch).map_err(|e| failed(index, e))?;
        Ok(ImageView { height, width, rgb: scratch })
    }

    fn streams(&self) -> bool {
        true
    }

    fn varies(&self) -> bool {
        true
    }

    fn resident_bytes(&self) -> usize {
        self.known.labels.len() * size_of::<u32>()
    }
}
