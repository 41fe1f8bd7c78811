//! What safetensors files begin with.

use crate::numbers::read_json;
use crate::{Error, Result};
use ::safetensors::tensor::{Metadata, TensorInfo};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// Headers beyond this are refused, as the format's own readers do.
const HEADER_LIMIT: u64 = 100_000_000;

/// What a safetensors file begins with.
pub(crate) struct Header {
    /// The byte that the tensors' places are counted from.
    pub start: u64,
    /// Names, types, sizes and places.
    pub tensors: Vec<(String, TensorInfo)>,
    /// What else its writer says.
    pub about: HashMap<String, String>,
}

/// Reads it.
pub(crate) fn read_tensor_header(path: &Path, file: &File) -> Result<Header> {
    let wrong = |what: &str| Error::Checkpoint {
        path: path.to_owned(),
        message: format!("not a safetensors file: {what}"),
    };
    let length = file.metadata().map_err(Error::io(path))?.len();
    let mut reader = BufReader::new(file);
    let mut size = [0; 8];
    reader.read_exact(&mut size).map_err(|_| wrong("it is shorter than 8 bytes"))?;
    let size = u64::from_le_bytes(size);
    if size > HEADER_LIMIT || size > length.saturating_sub(8) {
        return Err(wrong("its header's length is impossible"));
    }
    let mut header = vec![0; size as usize];
    reader.read_exact(&mut header).map_err(Error::io(path))?;
    let metadata: Metadata = read_json(&header).map_err(|e| wrong(&e))?;
    let tensors = metadata.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect();
    Ok(Header { start: 8 + size, tensors, about: metadata.metadata().clone().unwrap_or_default() })
}
