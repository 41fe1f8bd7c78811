//! The devkit's `meta.mat`: a variable `synsets`, an array of structs with the fields `ILSVRC2012_ID` and `WNID` among others.
//!
//! Of MATLAB's version 5, read from memory: the file is small.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use flate2::read::ZlibDecoder;

use super::mat::header;
use super::synset::is_synset;
use crate::{Error, Result};

/// Most bytes of the file, and of what it inflates to; the devkit's have 82 KB and 3 MB.
const MOST: u64 = 64 << 20;

/// Types of elements.
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
/// Classes of matrices.
const STRUCT: u8 = 2;
const CHAR: u8 = 4;

type Parsed<T> = std::result::Result<T, String>;

/// WordNet ids by `ILSVRC2012_ID`.
///
/// # Errors
/// A file that is not the devkit's.
pub(super) fn numbers(path: &Path) -> Result<HashMap<usize, String>> {
    let mut bytes = Vec::new();
    let file = crate::files::open(path).map_err(Error::io(path))?;
    file.take(MOST).read_to_end(&mut bytes).map_err(Error::io(path))?;
    synsets(&bytes).map_err(|message| {
        let hint = "take the `meta.mat` of ILSVRC2012_devkit_t12, or put `map_clsloc.txt` or `LOC_val_solution.csv` beside it";
        Error::data(path.display().to_string(), format!("{message}: {hint}"))
    })
}

fn synsets(file: &[u8]) -> Parsed<HashMap<usize, String>> {
    let mut content = file;
    let big = header(&mut content)?;
    let mut rest = Bytes { bytes: content, big };
    while !rest.bytes.is_empty() {
        let element = rest.element()?;
        let mut inflated = Vec::new();
        let content = match element.kind {
            COMPRESSED => {
                let read = ZlibDecoder::new(element.bytes).take(MOST).read_to_end(&mut inflated);
                read.map_err(|e| format!("cannot be inflated ({e})"))?;
                let inner = Bytes { bytes: &inflated, big }.element()?;
                if inner.kind != MATRIX {
                    continue;
                }
                inner.bytes
            }
            MATRIX => element.bytes,
            _ => continue,
        };
        let matrix = Matrix::of(Bytes { bytes: content, big })?;
        if matrix.name == "synsets" {
            return matrix.synsets();
        }
    }
    Err("it has no variable `synsets`".into())
}

/// Bytes that are yet to be read.
#[derive(Clone, Copy)]
struct Bytes<'a> {
    bytes: &'a [u8],
    big: bool,
}

/// A part: its type and content.
struct Element<'a> {
    kind: u32,
    bytes: &'a [u8],
}

impl<'a> Bytes<'a> {
    fn number(&mut self) -> Parsed<u32> {
        let (raw, rest) = self.bytes.split_first_chunk::<4>().ok_or("it is cut")?;
        self.bytes = rest;
        Ok(if self.big { u32::from_be_bytes(*raw) } else { u32::from_le_bytes(*raw) })
    }

    fn take(&mut self, length: usize) -> Parsed<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or("it is cut")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn element(&mut self) -> Parsed<Element<'a>> {
        let first = self.number()?;
        if first >> 16 != 0 {
            // Up to four bytes lie in the tag.
            let length = (first >> 16) as usize;
            let bytes = self.take(4)?.get(..length).ok_or("a part is longer than it can be")?;
            return Ok(Element { kind: first & 0xFFFF, bytes });
        }
        let length = self.number()? as usize;
        let bytes = self.take(length)?;
        if first != COMPRESSED {
            let padding = length.next_multiple_of(8) - length;
            self.take(padding.min(self.bytes.len()))?;
        }
        Ok(Element { kind: first, bytes })
    }

    /// Names of equal length, filled up with zeros.
    fn names(&mut self) -> Parsed<Vec<String>> {
        let length = Bytes { bytes: self.element()?.bytes, big: self.big }.number()? as usize;
        let names = self.element()?.bytes;
        if length == 0 {
            return Err("its fields have no names".into());
        }
        let name = |raw: &[u8]| String::from_utf8_lossy(raw).trim_end_matches('\0').to_owned();
        Ok(names.chunks(length).map(name).collect())
    }
}

/// A variable, or the value of a field.
struct Matrix<'a> {
    class: u8,
    name: String,
    /// Values: their number by its dimensions, and what follows the name.
    count: usize,
    content: Bytes<'a>,
}

impl<'a> Matrix<'a> {
    fn of(mut bytes: Bytes<'a>) -> Parsed<Self> {
        let flags = bytes.element()?.bytes;
        let class = if bytes.big { flags.get(3) } else { flags.first() };
        let class = *class.ok_or("a variable has no class")?;
        let mut dims = Bytes { bytes: bytes.element()?.bytes, big: bytes.big };
        let mut count = 1_usize;
        while !dims.bytes.is_empty() {
            count = count.checked_mul(dims.number()? as usize).ok_or("a variable is too large")?;
        }
        let name = String::from_utf8_lossy(bytes.element()?.bytes).into_owned();
        Ok(Matrix { class, name, count, content: bytes })
    }

    fn synsets(self) -> Parsed<HashMap<usize, String>> {
        if self.class != STRUCT {
            return Err("its `synsets` is no array of structs".into());
        }
        let mut content = self.content;
        let fields = content.names()?;
        let field = |name: &str| {
            let missing = || format!("its `synsets` has no field `{name}` (found {})", fields.join(", "));
            fields.iter().position(|field| field == name).ok_or_else(missing)
        };
        let (number, id) = (field("ILSVRC2012_ID")?, field("WNID")?);
        let mut found = HashMap::new();
        for _ in 0..self.count {
            let (mut key, mut synset) = (None, None);
            for at in 0..fields.len() {
                let element = content.element()?;
                if at == number || at == id {
                    let value = Matrix::of(Bytes { bytes: element.bytes, big: content.big })?;
                    if at == number { key = value.whole()? } else { synset = value.text()? }
                }
            }
            match (key, synset) {
                (Some(key), Some(synset)) if is_synset(&synset) => drop(found.insert(key, synset)),
                _ => return Err("a struct of its `synsets` has no number and WordNet id".into()),
            }
        }
        Ok(found)
    }

    /// A single whole number.
    fn whole(mut self) -> Parsed<Option<usize>> {
        let element = self.content.element()?;
        let mut raw = element.bytes.to_vec();
        if self.content.big {
            raw.reverse();
        }
        let real =
            |value: f64| (value.fract() == 0.0 && (0.0..1e9).contains(&value)).then_some(value as usize);
        Ok(match element.kind {
            7 => raw.try_into().ok().and_then(|raw| real(f64::from(f32::from_le_bytes(raw)))),
            9 => raw.try_into().ok().and_then(|raw| real(f64::from_le_bytes(raw))),
            _ if raw.len() <= 8 && !raw.is_empty() => {
                let mut wide = [0; 8];
                wide[..raw.len()].copy_from_slice(&raw);
                usize::try_from(u64::from_le_bytes(wide)).ok()
            }
            _ => None,
        })
    }

    /// Characters, of one byte or two.
    fn text(mut self) -> Parsed<Option<String>> {
        let element = self.content.element()?;
        if self.class != CHAR {
            return Ok(None);
        }
        let pair = |two: &[u8]| if self.content.big { two[1] } else { two[0] };
        let bytes: Vec<u8> = match element.kind {
            4 | 17 => element.bytes.chunks_exact(2).map(pair).collect(),
            _ => element.bytes.to_vec(),
        };
        Ok(String::from_utf8(bytes).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.io.savemat` of three structs, compressed, with a field of words before and one of children behind.
    const META: &[u8] = include_bytes!("meta_mat/three.mat");

    #[test]
    fn synsets_are_read_by_their_numbers() {
        let found = synsets(META).unwrap();
        let wanted = [(1, "n03000684"), (2, "n01440764"), (300, "n02102040")];
        assert_eq!(found, wanted.map(|(number, id)| (number, id.to_owned())).into());
    }

    #[test]
    fn damage_is_an_error() {
        for length in 0..META.len() {
            assert!(synsets(&META[..length]).is_err(), "{length}");
        }
        for at in 0..META.len() {
            let mut damaged = META.to_vec();
            damaged[at] ^= 0x55;
            let _ = synsets(&damaged);
        }
    }
}
