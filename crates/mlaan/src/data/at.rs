//! Reading a file at an offset, from several threads at once.

use std::fs::File;
use std::io;

/// Fills `bytes` from `offset` on; the file's own position does not count.
///
/// # Errors
/// The system's; [`io::ErrorKind::UnexpectedEof`] where the file ends before.
#[cfg(unix)]
pub(super) fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// Fills `bytes` from `offset` on; the file's own position does not count.
///
/// # Errors
/// The system's; [`io::ErrorKind::UnexpectedEof`] where the file ends before.
#[cfg(windows)]
pub(super) fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                bytes = &mut bytes[n..];
                offset += n as u64;
            }
        }
    }
    Ok(())
}
