//! Images of compressed files, copied once as they are into a temporary file, to be read from there in any order.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::collect::broken;
use super::stored::{Content, ReadAt, Scan};
use crate::{Error, Result};

/// The variable that names the folder for temporary files of images; without it the system's.
pub const SPOOL_FOLDER: &str = "MLAAN_SPOOL";

/// Largest image that is copied.
const MAX_IMAGE: usize = 1 << 30;

/// See the module. The file has no name: it is gone with the process, however that ends.
pub(super) struct Spool {
    file: File,
    folder: PathBuf,
    items: Vec<Item>,
    source: Arc<dyn Scan>,
}

#[derive(Clone, Copy)]
struct Item {
    /// Which image of the source.
    index: usize,
    offset: u64,
    bytes: usize,
    content: Content,
}

impl Spool {
    /// Copies the images `chosen`, and says which; those that cannot be read are left out if `skip_broken`. An image is
    /// found under the number that it has in `source`.
    ///
    /// # Errors
    /// A folder that cannot be written, or is full; images that cannot be read.
    pub fn fill(source: Arc<dyn Scan>, chosen: &[usize], skip_broken: bool) -> Result<(Self, Vec<usize>)> {
        let named = std::env::var_os(SPOOL_FOLDER).filter(|f| !f.is_empty());
        let folder = named.map_or_else(std::env::temp_dir, PathBuf::from);
        Self::fill_in(&folder, source, chosen, skip_broken)
    }

    fn fill_in(
        folder: &Path,
        source: Arc<dyn Scan>,
        chosen: &[usize],
        skip_broken: bool,
    ) -> Result<(Self, Vec<usize>)> {
        let file = tempfile::tempfile_in(folder).map_err(|e| failed(folder, 0, &e))?;
        let mut out = BufWriter::with_capacity(1 << 20, &file);
        let (mut items, mut offset) = (Vec::with_capacity(chosen.len()), 0);
        source.scan(chosen, &mut |raws| {
            for raw in raws {
                let content = match raw.content {
                    Ok(_) if raw.bytes.len() > MAX_IMAGE => Err("the image is larger than 1 GiB".into()),
                    content => content,
                };
                let content = match content {
                    Ok(content) => content,
                    Err(_) if skip_broken => continue,
                    Err(message) => return Err(broken(source.name(raw.index), &message.into())),
                };
                out.write_all(&raw.bytes).map_err(|e| failed(folder, offset, &e))?;
                items.push(Item { index: raw.index, offset, bytes: raw.bytes.len(), content });
                offset += raw.bytes.len() as u64;
            }
            Ok(())
        })?;
        out.flush().map_err(|e| failed(folder, offset, &e))?;
        drop(out);
        let kept = items.iter().map(|item| item.index).collect();
        Ok((Spool { file, folder: folder.into(), items, source }, kept))
    }
}

impl ReadAt for Spool {
    fn name(&self, index: usize) -> String {
        self.source.name(index)
    }

    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> std::result::Result<Content, String> {
        let at = self.items.binary_search_by_key(&index, |item| item.index).map_err(|_| "no such image")?;
        let item = self.items[at];
        bytes.clear();
        bytes.resize(item.bytes, 0);
        let read = read_at(&self.file, bytes, item.offset);
        read.map_err(|e| format!("its copy in {} cannot be read: {e}", self.folder.display()))?;
        Ok(item.content)
    }
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => (bytes, offset) = (&mut bytes[n..], offset + n as u64),
        }
    }
    Ok(())
}

fn failed(folder: &Path, written: u64, e: &std::io::Error) -> Error {
    let hint = format!("name a folder with more room by {SPOOL_FOLDER}, or unpack the set");
    let message = match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            format!("full after {} MiB of images copied here, to be read in any order: {hint}", written >> 20)
        }
        _ => format!("images cannot be copied here ({e}): {hint}"),
    };
    Error::data(folder.display().to_string(), message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::stored::Raw;

    /// Images of one byte, each its number; every fifth is broken.
    struct Numbers;

    impl Scan for Numbers {
        fn name(&self, index: usize) -> String {
            format!("number {index}")
        }

        fn scan(&self, indices: &[usize], each: &mut dyn FnMut(Vec<Raw>) -> Result<()>) -> Result<()> {
            for two in indices.chunks(2) {
                let raw = |&index: &usize| {
                    let content = if index % 5 == 4 { Err("lost".into()) } else { Ok(Content::Encoded) };
                    Raw { index, content, bytes: vec![index as u8; index + 1] }
                };
                each(two.iter().map(raw).collect())?;
            }
            Ok(())
        }
    }

    #[test]
    fn what_was_copied_is_read_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, kept) = Spool::fill_in(folder.path(), Arc::new(Numbers), &[1, 3, 4, 6, 7], true).unwrap();
        assert_eq!(kept, [1, 3, 6, 7]);
        // No name: nothing is left behind.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut bytes = vec![9; 100];
        for index in [7, 1, 6, 3, 7] {
            assert_eq!(spool.read(index, &mut bytes), Ok(Content::Encoded));
            assert_eq!(bytes, vec![index as u8; index + 1]);
        }
        assert!(spool.read(4, &mut bytes).is_err());
        assert_eq!(spool.name(7), "number 7");
    }

    #[test]
    fn broken_images_and_folders_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let fill = |folder: &Path| Spool::fill_in(folder, Arc::new(Numbers), &[3, 4], false).map(|_| ());
        let error = fill(folder.path()).unwrap_err().to_string();
        assert!(error.contains("number 4") && error.contains("lost"), "{error}");
        let error = fill(&folder.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("none") && error.contains(SPOOL_FOLDER), "{error}");
        let full = failed(folder.path(), 5 << 20, &ErrorKind::StorageFull.into()).to_string();
        assert!(full.contains("full after 5 MiB"), "{full}");
    }
}
