//! What a file is, by its first bytes.

use super::old;

/// Bytes that tell it.
pub(super) const KNOWN_BY: u64 = 16;
/// What is read, for messages.
const READ: &str = "state dicts of ResNets are read, as `torch.save` or safetensors write them";
/// How to make one of a pickle of Python's own.
const SAVE_AGAIN: &str =
    "load it in Python and save it with PyTorch: `torch.save(pickle.load(open(FILE, \"rb\")), NEW)`";

/// A file's form.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileFormat {
    /// What `torch.save` writes: a zip file.
    Archive,
    /// What it wrote before version 1.6.
    Old,
    /// Its header may still be damaged.
    Safetensors,
    /// None that is read: what it is instead.
    Other(String),
}

impl FileFormat {
    /// By a file's first bytes ([`KNOWN_BY`]) and its length.
    pub(super) fn of(first: &[u8], length: u64) -> Self {
        if first.starts_with(b"PK\x03\x04") {
            return FileFormat::Archive;
        }
        if old::begins(first) {
            return FileFormat::Old;
        }
        let announced = first.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let json = first.get(8) == Some(&b'{');
        FileFormat::Other(match (announced, first) {
            (Some(header), _) if (2..=length.saturating_sub(8)).contains(&header) => {
                return FileFormat::Safetensors;
            }
            // Behind the length of safetensors' header stands JSON; a file of other things hardly has both.
            (Some(header), _) if json && header >> 32 == 0 => {
                format!("safetensors, cut off: it has {length} bytes, its header alone {header}")
            }
            (_, [0x80, ..]) => format!("a plain pickle, not a PyTorch archive; {SAVE_AGAIN}"),
            (_, []) => format!("this file is empty; {READ}"),
            // ONNX: field 1, the version of its form, which is below 128; then another field of the outermost message.
            (_, [0x08, 1..=0x7f, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, ..]) => {
                format!("this looks like ONNX, which holds a computation; {READ}")
            }
            _ => format!(
                "neither a PyTorch file (`torch.save`) nor safetensors, or cut off at its beginning; {READ}"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_their_first_bytes() {
        let of = |first: &[u8], length| FileFormat::of(first, length);
        assert_eq!(of(b"PK\x03\x04....", 8), FileFormat::Archive);
        assert_eq!(of(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80", 99), FileFormat::Old);
        assert_eq!(of(b"\x80\x04\x95\x0d\0\0\0\0\0\0\0\x8a\nl\xfc\x9c", 99), FileFormat::Old);
        assert_eq!(of(b"\x02\0\0\0\0\0\0\0{}", 10), FileFormat::Safetensors);
        for (first, length, part) in [
            (&b"\x03\0\0\0\0\0\0\0{}"[..], 10, "cut off: it has 10 bytes, its header alone 3"),
            (b"\x08\x08\x12\x05mlaan\x1a\x050.1.0", 900, "looks like ONNX"),
            (b"\x80\x04}.", 4, "plain pickle"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01", 5000, "neither"),
            (b"", 0, "empty"),
        ] {
            let FileFormat::Other(message) = of(first, length) else { unreachable!("{part}") };
            assert!(message.contains(part), "{message}");
        }
    }
}
