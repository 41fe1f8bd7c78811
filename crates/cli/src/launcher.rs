//! The process that started this one.

#[cfg(feature = "mpi")]
use std::io::{Error, ErrorKind, Result};
use std::path::Path;
#[cfg(feature = "mpi")]
use std::path::PathBuf;

/// A file that the system has of it.
///
/// # Errors
/// Where systems do not tell.
#[cfg(feature = "mpi")]
pub fn file(name: &str) -> Result<PathBuf> {
    #[cfg(unix)]
    if let Some(id) = rustix::process::getppid() {
        return Ok(format!("/proc/{}/{name}", id.as_raw_nonzero()).into());
    }
    Err(Error::new(ErrorKind::NotFound, name.to_owned()))
}

/// Whether it prints to a terminal; true where nobody knows.
#[cfg(feature = "mpi")]
pub fn has_terminal() -> bool {
    file("fd/1").and_then(std::fs::read_link).map_or(true, |to| is_terminal(&to))
}

fn is_terminal(file: &Path) -> bool {
    let name = file.to_string_lossy();
    ["/dev/pts/", "/dev/tty", "/dev/console"].iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_told_from_files_and_pipes() {
        let of = |name: &str| is_terminal(Path::new(name));
        assert!(of("/dev/pts/0") && of("/dev/tty1") && of("/dev/ttyS0") && of("/dev/console"));
        assert!(!of("/home/me/out.txt") && !of("pipe:[123]") && !of("/dev/null"));
    }
}
