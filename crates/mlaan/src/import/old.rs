//! What `torch.save` wrote before version 1.6: pickles of a magic number, of the form's version, of the machine, of what was saved
//! and of the storages' names, then the storages in that order, each as its length and its values.

use super::sets::{Found, MAX_PICKLE, find, nothing};
use crate::pickle::{Limits, Pickle, Storage, Value};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// The magic number as a pickle has it, behind what says the protocol and, of newer ones, the frame.
const MAGIC: [u8; 5] = [0x8a, 10, 0x6c, 0xfc, 0x9c];
/// Bytes of a frame's mark and length.
const FRAME: usize = 9;
/// The version of the form that is known.
const VERSION: i64 = 1001;
/// Bytes read first: the pickles of ResNet-152 have 300 KB.
const FIRST: u64 = 1 << 19;
/// Bytes of a storage's length.
const COUNT: u64 = 8;

/// Whether a file begins as one of this form.
pub(super) fn begins(first: &[u8]) -> bool {
    let [0x80, _, rest @ ..] = first else { return false };
    let framed =
        || rest.first() == Some(&0x95) && rest.get(FRAME..).is_some_and(|rest| rest.starts_with(&MAGIC));
    rest.starts_with(&MAGIC) || framed()
}

type Done<T> = std::result::Result<T, String>;

/// The values of all storages.
pub(super) struct Values {
    pub file: File,
    /// Where those of each storage begin.
    pub starts: HashMap<String, u64>,
}

impl Values {
    /// The bytes of a storage; its length is no more than the file's.
    pub(super) fn of(&mut self, storage: &Storage) -> Done<Vec<u8>> {
        let start =
            self.starts.get(&storage.key).ok_or(
            "its values are not found in the file: it is damaged, or values of a type that is not read stand before them",
        )?;
        let mut bytes = vec![0; storage.length.saturating_mul(storage.element.size())];
        let read = self.file.seek(SeekFrom::Start(*start)).and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|e| format!("its values cannot be read ({e})")).map(|()| bytes)
    }
}

/// What the pickles say.
struct Pickles {
    found: Found,
    /// Storages by their names.
    storages: HashMap<String, Storage>,
    /// The names in the order of the values.
    names: Vec<String>,
    /// Bytes of all pickles.
    length: u64,
}

/// What a file of `length` bytes holds, and where the values of each storage begin.
pub(super) fn read(file: &mut File, length: u64) -> Done<(Found, HashMap<String, u64>)> {
    let mut size = FIRST;
    let Pickles { found, storages, names, length: mut at } = loop {
        let mut head = Vec::new();
        file.rewind()
            .and_then(|()| file.by_ref().take(size).read_to_end(&mut head))
            .map_err(|e| format!("it cannot be read ({e})"))?;
        match pickles(&head) {
            Ok(found) => break found,
            // They may be longer than what was read.
            Err(_) if size < length.min(MAX_PICKLE) => size = size.saturating_mul(8).min(MAX_PICKLE),
            Err(message) => return Err(message),
        }
    };
    let mut starts = HashMap::new();
    for name in names {
        // Without its type nobody knows where the next one begins; it may be of none that is read.
        let Some(storage) = storages.get(&name) else { break };
        let mut count = [0; COUNT as usize];
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(&mut count))
            .map_err(|_| cut_off(length, at + COUNT))?;
        if u64::from_le_bytes(count) != storage.length as u64 {
            let (there, said) = (u64::from_le_bytes(count), storage.length);
            return Err(format!(
                "a storage has {there} values, and {said} are announced: the file is damaged"
            ));
        }
        let bytes = (storage.length as u64).saturating_mul(storage.element.size() as u64);
        let end = at.saturating_add(COUNT).saturating_add(bytes);
        if end > length {
            return Err(cut_off(length, end));
        }
        starts.insert(name, at + COUNT);
        at = end;
    }
    Ok((found, starts))
}

fn cut_off(length: u64, needed: u64) -> String {
    format!("it has {length} bytes, and its values need {needed}: the file is cut off")
}

fn pickles(bytes: &[u8]) -> Done<Pickles> {
    let mut at = 0;
    let mut next = || {
        let rest = bytes.get(at..).unwrap_or_default();
        let pickle = Pickle::parse(rest, Limits::default())
            .map_err(|e| format!("written by PyTorch before version 1.6, and cut off or damaged ({e})"))?;
        at += pickle.length();
        Ok::<_, String>(pickle)
    };
    drop(next()?); // The magic number.
    let version = next()?.root().integer();
    if version != Some(VERSION) {
        return Err(format!(
            "a form of PyTorch's files that is not known ({version:?} instead of {VERSION})"
        ));
    }
    let machine = next()?;
    if machine.root().get("little_endian").is_some_and(|little| *little.value() == Value::Bool(false)) {
        return Err("written on a big-endian machine, which is not read".into());
    }
    let saved = next()?;
    let keys = next()?;
    let names = keys.root().sequence().ok_or("the names of its storages are no list: the file is damaged")?;
    let names: Option<Vec<String>> = names.map(|name| Some(name.text()?.into_owned())).collect();
    let names = names.ok_or("the names of its storages are no text: the file is damaged")?;
    let found = find(saved.root());
    if found.sets.is_empty() {
        return Err(nothing(saved.root(), &found));
    }
    let storages = saved.storages().map(|storage| (storage.key.clone(), storage)).collect();
    Ok(Pickles { found, storages, names, length: at as u64 })
}
