//! What the tests of the engine share.
#![allow(dead_code)] // Each test file uses its part.

pub mod check;
pub mod convolution;
pub mod cuda;
pub mod misuse;
pub mod network;
pub mod random;
pub mod values;
