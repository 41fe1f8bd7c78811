//! Files by their names, in a folder or inside an archive that is never unpacked to disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use super::records::Blob;
use crate::{Error, Result};

/// Most members of an archive that are looked at; data sets of this kind have about ten.
const MOST_MEMBERS: usize = 10_000;
/// Most bytes that a compressed archive is inflated to; the largest known (STL-10 with its images without labels) has
/// 3 GiB.
const MOST_INFLATED: u64 = 4 << 30;
/// Files at the beginning of an archive by which its format is told.
const FIRST: usize = 12;
/// Bytes of them that are passed over for that: all of CIFAR's, but not the first file of STL-10, so that no archive is inflated
/// in search of what another format would have.
const MOST_PASSED: u64 = 200 << 20;
/// Bytes behind the last file needed that are read to check an archive's sum.
const MOST_TAIL: u64 = 1 << 20;

/// Where files are looked for.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A folder.
    Folder(PathBuf),
    /// A tar archive; compressed or not.
    Archive(PathBuf),
}

/// A file that was found.
pub(super) struct Member {
    /// What messages call it.
    pub place: String,
    /// Its bytes.
    pub blob: Blob,
    /// Their number.
    pub size: u64,
}

impl Place {
    /// What lies at `path`: a folder (or one of `inside` in it), or an archive whose name says so.
    pub fn at(path: &Path, inside: &[&str]) -> Vec<Place> {
        if path.is_dir() {
            let within = inside.iter().map(|name| path.join(name)).filter(|p| p.is_dir());
            return std::iter::once(path.to_path_buf()).chain(within).map(Place::Folder).collect();
        }
        if path.is_file() && archive_kind(path).is_some() {
            return vec![Place::Archive(path.to_path_buf())];
        }
        Vec::new()
    }

    /// The path, for messages.
    pub fn path(&self) -> &Path {
        match self {
            Place::Folder(path) | Place::Archive(path) => path,
        }
    }

    /// Whether it has a file whose name is one of `names`, an archive at its beginning.
    ///
    /// # Errors
    /// An archive that cannot be read.
    pub fn has(&self, names: &[&str]) -> Result<bool> {
        match self {
            Place::Folder(folder) => Ok(names.iter().any(|name| folder.join(name).is_file())),
            Place::Archive(path) => {
                let (mut found, mut seen, mut passed) = (false, 0, 0_u64);
                each_member(path, |name, size, _| {
                    found = names.contains(&name);
                    seen += 1;
                    passed = passed.saturating_add(size);
                    Ok(!found && seen < FIRST && passed <= MOST_PASSED)
                })?;
                Ok(found)
            }
        }
    }

    /// Those of the files `wanted` (names, and how many bytes each may have at the most) that are there. An archive is
    /// read until all of `needed` are found.
    ///
    /// # Errors
    /// A file that cannot be read or is too large.
    pub fn files(&self, wanted: &[(&str, u64)], needed: &[&str]) -> Result<BTreeMap<String, Member>> {
        match self {
            Place::Folder(folder) => {
                let mut found = BTreeMap::new();
                for (name, most) in wanted {
                    let path = folder.join(name);
                    if path.is_file() {
                        found.insert((*name).to_owned(), opened(&path, *most)?);
                    }
                }
                Ok(found)
            }
            Place::Archive(path) => extract(path, wanted, needed),
        }
    }
}

impl Member {
    /// All its bytes.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn bytes(self) -> Result<Vec<u8>> {
        match self.blob {
            Blob::Memory(bytes) => Ok(bytes),
            Blob::File(file) => {
                let mut bytes = Vec::new();
                file.take(self.size).read_to_end(&mut bytes).map_err(Error::io(self.place))?;
                Ok(bytes)
            }
        }
    }
}

fn opened(path: &Path, most: u64) -> Result<Member> {
    let file = File::open(path).map_err(Error::io(path))?;
    let size = file.metadata().map_err(Error::io(path))?.len();
    let place = path.display().to_string();
    if size > most {
        return Err(too_large(&place, size, most));
    }
    Ok(Member { place, blob: Blob::File(file), size })
}

fn too_large(place: &str, size: u64, most: u64) -> Error {
    let message = format!(
        "{size} bytes, where this format has at most {most}: it is another file; fetch the set again"
    );
    Error::data(place, message)
}

/// Whether a name is that of an archive that is read, and whether it is compressed.
fn archive_kind(path: &Path) -> Option<bool> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    match name.as_str() {
        n if n.ends_with(".tar.gz") || n.ends_with(".tgz") => Some(true),
        n if n.ends_with(".tar") => Some(false),
        _ => None,
    }
}

fn extract(path: &Path, wanted: &[(&str, u64)], needed: &[&str]) -> Result<BTreeMap<String, Member>> {
    let mut found: BTreeMap<String, Member> = BTreeMap::new();
    let rest = each_member(path, |name, size, content| {
        let Some((_, most)) = wanted.iter().find(|(wanted, _)| *wanted == name) else {
            return Ok(true);
        };
        let place = format!("{}, member {name}", path.display());
        if size > *most {
            return Err(too_large(&place, size, *most));
        }
        // Grows as bytes arrive: a header alone asks for nothing.
        let mut bytes = Vec::new();
        content.take(size).read_to_end(&mut bytes).map_err(|e| damaged(path, &e))?;
        if bytes.len() as u64 != size {
            let message = format!("{} of {size} bytes are there; fetch the archive again", bytes.len());
            return Err(Error::data(place, message));
        }
        found.insert(name.to_owned(), Member { place, blob: Blob::Memory(bytes), size });
        Ok(!needed.iter().all(|n| found.contains_key(*n)))
    })?;
    // At the end of a compressed archive its sum is compared.
    io::copy(&mut rest.take(MOST_TAIL), &mut io::sink()).map_err(|e| damaged(path, &e))?;
    Ok(found)
}

/// Hands the files of an archive on, by the last part of their names, until `each` says no more. Gives what was not read.
fn each_member(
    path: &Path,
    mut each: impl FnMut(&str, u64, &mut dyn Read) -> Result<bool>,
) -> Result<Box<dyn Read>> {
    let file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let content: Box<dyn Read> = match archive_kind(path) {
        Some(true) => Box::new(GzDecoder::new(file).take(MOST_INFLATED)),
        _ => Box::new(file),
    };
    let mut archive = tar::Archive::new(content);
    // Raw: members that hold a long name are passed over like any other, instead of being read whole.
    let entries = archive.entries().map_err(|e| damaged(path, &e))?.raw(true);
    for (count, entry) in entries.enumerate() {
        let mut entry = entry.map_err(|e| damaged(path, &e))?;
        if count >= MOST_MEMBERS {
            return Err(Error::data(
                path.display().to_string(),
                format!("more than {MOST_MEMBERS} files in it"),
            ));
        }
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path().ok().and_then(|p| Some(p.file_name()?.to_str()?.to_owned()));
        let size = entry.size();
        if let Some(name) = name
            && !each(&name, size, &mut entry)?
        {
            break;
        }
    }
    Ok(archive.into_inner())
}

fn damaged(path: &Path, e: &std::io::Error) -> Error {
    let message =
        format!("cannot be read as an archive ({e}); if it is damaged or incomplete, fetch it again");
    Error::data(path.display().to_string(), message)
}
