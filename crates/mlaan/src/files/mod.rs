//! Files as they are read and opened: regular ones only, and of bounded size.
//!
//! A FIFO keeps who opens it waiting for its writer, a device may never end, and a link may lead to either. Files are
//! written by [`atomic`].

pub mod atomic;
pub(crate) mod fault;
pub(crate) mod floats;
pub(crate) mod place;
mod safetensors;
mod visited;

pub(crate) use self::safetensors::{Header, read_tensor_header};
pub use visited::Visited;

use crate::{Error, Result};
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Most bytes of a kind of file that is read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The kind, as `a recipe`.
    pub what: &'static str,
    /// Bytes.
    pub most: u64,
}

impl Bound {
    const fn mib(what: &'static str, most: u64) -> Self {
        Bound { what, most: most << 20 }
    }
}

/// Recipes and suites: a few kilobytes.
pub const RECIPE: Bound = Bound::mib("a recipe or a suite", 1);
/// Names of classes, one a line.
pub const CLASSES: Bound = Bound::mib("a list of classes", 16);
/// Manifests of checkpoints: the recipe, and the names of all classes.
pub const MANIFEST: Bound = Bound::mib("a checkpoint's index", 64);
/// Metrics: a few kilobytes an epoch.
pub const METRICS: Bound = Bound::mib("the metrics of a run", 256);
/// A run's summary: a few numbers.
pub const SUMMARY: Bound = Bound::mib("a run's summary", 1);
/// The evaluation at the end of a run: a few numbers for every class and every two that are taken for each other.
pub const EVALUATION: Bound = Bound::mib("the evaluation of a run", 256);
/// Records and tables of comparisons: a few kilobytes a run.
pub const RECORD: Bound = Bound::mib("a record of `mlaan compare`", 64);
/// Analyses: a matrix of every two places.
pub const ANALYSIS: Bound = Bound::mib("an analysis", 256);
/// What a report takes in besides.
pub const PICTURE: Bound = Bound::mib("a part of a report", 32);
/// An encoded image.
pub const IMAGE: Bound = Bound::mib("an image", 256);

/// Opens a regular file for reading, in place of [`File::open`]: never waits for the other end of a FIFO.
///
/// # Errors
/// What the system says; [`ErrorKind::InvalidInput`] that says what the path is instead of a file.
pub fn open(path: &Path) -> io::Result<File> {
    // First by its name: some devices do something as soon as they are opened.
    regular(fs::metadata(path)?.file_type())?;
    checked(path, OpenOptions::new().read(true), false)
}

/// Opens a file that this program itself writes to as it is, as a lock: it may be missing if `options` create it. A link
/// under its name is refused, since it would lead to a file of someone else.
///
/// # Errors
/// As [`open`].
pub fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(about) => regular(about.file_type())?,
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    checked(path, options, true)
}

/// What the name led to may have been replaced since it was looked at.
fn checked(path: &Path, options: &mut OpenOptions, own: bool) -> io::Result<File> {
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        let link = if own { OFlags::NOFOLLOW } else { OFlags::empty() };
        options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY | link).bits().cast_signed());
    }
    #[cfg(not(unix))]
    let _ = own;
    let file = options.open(path)?;
    regular(file.metadata()?.file_type())?;
    Ok(file)
}

fn regular(kind: FileType) -> io::Result<()> {
    if kind.is_file() {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::InvalidInput, format!("is {}, not a regular file", named(kind))))
}

/// What a kind of file is called.
fn named(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a FIFO";
        }
        if kind.is_socket() {
            return "a socket";
        }
    }
    match () {
        () if kind.is_file() => "a file",
        () if kind.is_dir() => "a folder",
        () if kind.is_symlink() => "a symbolic link",
        () => "a device",
    }
}

/// What is at `path`, if it is something that is neither a file nor a folder, nor a link to one.
pub fn special(path: &Path) -> Option<&'static str> {
    let kind = fs::metadata(path).ok()?.file_type();
    (!kind.is_file() && !kind.is_dir()).then(|| named(kind))
}

/// Whether a file may be put in the place of what is at `path`: of nothing, of a regular file, or of a link to either,
/// which gives way while what it leads to stays as it is.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] that says what is there instead.
pub(crate) fn replaceable(path: &Path) -> io::Result<()> {
    let Ok(about) = fs::symlink_metadata(path) else { return Ok(()) };
    let kind = match fs::metadata(path) {
        Ok(target) => target.file_type(),
        // A link that leads nowhere.
        Err(_) => return Ok(()),
    };
    // `/dev/stdout` is no file of its own: it stands for what this process has open.
    let open = about.is_symlink() && fs::read_link(path).is_ok_and(|to| to.starts_with("/proc"));
    if kind.is_file() && !open {
        return Ok(());
    }
    let what = if open { "standard output or another open file" } else { named(kind) };
    Err(io::Error::new(
        ErrorKind::InvalidInput,
        format!("is {what}; a file is written whole, so name a file"),
    ))
}

/// All bytes of a regular file.
///
/// # Errors
/// [`Error::Io`] if it cannot be read or is something else; [`Error::Data`] if it is larger than `bound`.
pub fn read(path: &Path, bound: Bound) -> Result<Vec<u8>> {
    let file = open(path).map_err(Error::io(path))?;
    let size = file.metadata().map_err(Error::io(path))?.len();
    let mut bytes = Vec::new();
    if size <= bound.most {
        bytes.reserve_exact(size as usize);
        // It may grow meanwhile, and files of the system have no size.
        file.take(bound.most + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    }
    match size.max(bytes.len() as u64) <= bound.most {
        true => Ok(bytes),
        false => Err(Error::data(path.display().to_string(), too_large(bound))),
    }
}

/// All of a text file.
///
/// # Errors
/// As [`read`]; [`Error::Io`] if it is not UTF-8.
pub fn text(path: &Path, bound: Bound) -> Result<String> {
    String::from_utf8(read(path, bound)?).map_err(|e| {
        let message = format!("byte {} is not of a text in UTF-8", e.utf8_error().valid_up_to());
        Error::io(path)(io::Error::new(ErrorKind::InvalidData, message))
    })
}

fn too_large(bound: Bound) -> String {
    let Bound { what, most } = bound;
    format!("larger than {} MiB, the most that {what} may have: this is another file", most >> 20)
}

#[cfg(test)]
mod tests;
