//! Files by their names, in a folder or inside an archive that is never unpacked to disk.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::super::decode::fetched;
use super::packed::{damaged, each_file, kind};
use super::records::Blob;
use crate::{Error, Result};

/// Most members of an archive that are looked at; data sets of this kind have about ten.
const MOST_MEMBERS: usize = 1000;
/// Most bytes of members that are passed; STL-10 with its images without labels, the largest of these sets, has 2.9 GiB.
const MOST_PASSED: u64 = 3 << 30;
/// Files at the beginning of an archive by which its format is told.
const FIRST: usize = 12;
/// Bytes of them that are passed over for that: all of CIFAR's, but not the first file of STL-10, so that no archive is inflated
/// in search of what another format would have.
const FIRST_BYTES: u64 = 200 << 20;
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
        if path.is_file() && kind(path).is_some() {
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
                each_file(path, &mut |member| {
                    found = names.contains(&last(member.name));
                    seen += 1;
                    passed = passed.saturating_add(member.size);
                    Ok(!found && seen < FIRST && passed <= FIRST_BYTES)
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
    fetched(path)?;
    let file = crate::files::open(path).map_err(Error::io(path))?;
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

fn extract(path: &Path, wanted: &[(&str, u64)], needed: &[&str]) -> Result<BTreeMap<String, Member>> {
    let mut found: BTreeMap<String, Member> = BTreeMap::new();
    let (mut seen, mut passed) = (0, 0_u64);
    let walked = each_file(path, &mut |mut member| {
        (seen, passed) = (seen + 1, passed.saturating_add(member.size));
        if seen > MOST_MEMBERS || passed > MOST_PASSED {
            let message = format!("more than {MOST_MEMBERS} files, or {} GiB of them", MOST_PASSED >> 30);
            return Err(Error::data(path.display().to_string(), message));
        }
        let name = last(member.name);
        let Some((name, most)) = wanted.iter().find(|(wanted, _)| *wanted == name) else {
            return Ok(true);
        };
        let (place, size) = (format!("{}, member {name}", path.display()), member.size);
        if size > *most {
            return Err(too_large(&place, size, *most));
        }
        let bytes = member.bytes(*most).map_err(|e| {
            let message = format!("cannot be read ({e}); if the archive is damaged or cut, fetch it again");
            Error::data(&place, message)
        })?;
        found.insert((*name).to_owned(), Member { place, blob: Blob::Memory(bytes), size });
        Ok(!needed.iter().all(|n| found.contains_key(*n)))
    })?;
    // At the end of a compressed archive its sum is compared.
    io::copy(&mut walked.rest.take(MOST_TAIL), &mut io::sink()).map_err(|e| damaged(path, &e))?;
    Ok(found)
}

/// The last part of a path in an archive.
fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
