//! Refusals: what a misused operation must answer.

use mlaan_engine::ops::{Conv2dParams, Incoming, Outgoing};
use mlaan_engine::{DType, Device, Error, MemoryCategory, Result, Tensor};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A device, and tensors of any sizes on it.
pub struct Bench(pub Device);

impl Bench {
    pub fn new() -> Self {
        Bench(Device::cpu(Some(1)).unwrap())
    }

    pub fn t<const N: usize>(&self, extents: [usize; N]) -> Tensor {
        self.0.full(extents, 1.0, MemoryCategory::Data).unwrap()
    }

    pub fn of<const N: usize>(&self, dtype: DType, extents: [usize; N]) -> Tensor {
        self.0.alloc(extents, dtype, MemoryCategory::Data).unwrap()
    }
}

/// What is wrong with the answer of `run`, which must be a refusal of `operation` that contains `text`.
pub fn fault<T>(what: &str, operation: &str, text: &str, run: impl FnOnce() -> Result<T>) -> Option<String> {
    let wrong = match catch_unwind(AssertUnwindSafe(|| run().err())) {
        Err(_) => "a panic".to_string(),
        Ok(Some(Error::Shape { operation: o, message })) => {
            if o == operation && message.contains(text) {
                return None;
            }
            format!("{o} refused with {message:?}, expected {text:?}")
        }
        Ok(Some(other)) => format!("refused with {other:?}"),
        Ok(None) => "no refusal".to_string(),
    };
    Some(format!("{operation}, {what}: {wrong}"))
}

/// Fails unless `run` is refused as [`fault`] demands.
pub fn refused<T>(what: &str, operation: &str, text: &str, run: impl FnOnce() -> Result<T>) {
    assert_eq!(fault(what, operation, text, run), None);
}

pub const WINDOW: Conv2dParams = Conv2dParams { kernel: 3, stride: 1, pad: 1 };

pub fn plain(t: &mut Tensor) -> Outgoing<'_> {
    Outgoing { grad: t, accumulate: false, norm: None }
}

pub fn norm(t: &Tensor) -> Incoming<'_> {
    Incoming { grad: t, norm: None }
}
