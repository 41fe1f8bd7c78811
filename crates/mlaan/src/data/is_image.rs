//! Whether a file is an image, by its name or by its first bytes. The only place that knows.

use std::path::Path;

/// Endings of image files, in lower case.
pub(crate) use super::decode::IMAGE_ENDINGS as ENDINGS;

/// Endings of images that are not read.
const OTHERS: &[&str] = &[
    "heic", "heif", "avif", "jxl", "jp2", "j2k", "psd", "svg", "ico", "tga", "exr", "hdr", "dng", "cr2",
    "cr3", "nef", "arw", "raw", "dds", "qoi",
];

/// First bytes of a file that tell what it is.
pub(crate) const HEAD: usize = 18;

/// Whether a file of this name is meant to be an image.
pub(crate) fn by_name(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| by_ending(ending))
}

/// Whether files with this ending (without its dot) are meant to be images.
pub(crate) fn by_ending(ending: &str) -> bool {
    ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending))
}

/// Whether a file of this name is an image of a format that is not read.
pub(crate) fn of_another_format(name: &str) -> bool {
    let another = |ending: &str| OTHERS.iter().any(|known| known.eq_ignore_ascii_case(ending));
    name.rsplit_once('.').is_some_and(|(_, ending)| another(ending))
}

/// Whether a file that begins so is an image, whatever it is called. Formats whose first two bytes are letters are told by
/// more of their header: texts may begin so, too.
pub(crate) fn by_content(head: &[u8]) -> bool {
    const STARTS: [&[u8]; 8] = [
        &[0xFF, 0xD8, 0xFF],
        b"\x89PNG\r\n\x1a\n",
        b"GIF87a",
        b"GIF89a",
        b"II*\0",
        b"MM\0*",
        b"II+\0",
        b"MM\0+",
    ];
    match head {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => true,
        // The length of the file, two numbers that are zero, where pixels begin, and one of the lengths of a header.
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, _, _, _, _, length, 0, 0, 0, ..] => {
            matches!(length, 12 | 40 | 52 | 56 | 64 | 108 | 124)
        }
        [b'P', b'1'..=b'6', space, next, ..] => {
            space.is_ascii_whitespace() && matches!(next, b'0'..=b'9' | b'#')
        }
        [b'P', b'7', b'\n', rest @ ..] => {
            [&b"#"[..], b"WIDTH", b"HEIGHT", b"DEPTH"].iter().any(|k| rest.starts_with(k))
        }
        _ => STARTS.iter().any(|start| head.starts_with(start)),
    }
}

/// [`by_content`] of a file on disk; not where it cannot be read.
pub(crate) fn file_by_content(path: &Path) -> bool {
    use std::io::Read;
    let mut head = Vec::new();
    let read = crate::files::open(path).and_then(|file| file.take(HEAD as u64).read_to_end(&mut head));
    read.is_ok() && by_content(&head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_told_by_ending_or_content() {
        for name in ["b/c.JPE", "x.y.jfif", "1.Tiff", "2.PPM", "3.gif"] {
            assert!(by_name(name), "{name}");
        }
        assert!(!by_name("a.jpg/b") && !by_name("a."));
        assert!(by_name("a.JPG") && by_name("cat.0.jpeg") && by_name("x.webp"));
        assert!(
            of_another_format("IMG_1.HEIC") && !of_another_format("a.txt") && !of_another_format("a.png")
        );
        assert!(!by_name("jpg") && !by_name("a.jpg.txt") && !by_name("a.xml"));
        assert!(by_content(b"\xFF\xD8\xFF\xE0") && by_content(b"RIFF\0\0\0\0WEBP"));
        assert!(!by_content(b"RIFF\0\0\0\0WAVE") && !by_content(b"") && !by_content(b"\xFF\xD8"));
        for image in [
            &b"GIF89a"[..],
            b"II*\0",
            b"MM\0+\0\x08",
            b"P6\n2 2\n255\n",
            b"P1 1 1 0",
            b"P5\n# made by hand",
            b"P7\nWIDTH 2",
            b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0",
        ] {
            assert!(by_content(image), "{image:?}");
        }
        for text in [
            &b"BMW, Audi, and others"[..],
            b"BM",
            b"P1 is the first page",
            b"P7\nnotes",
            b"II",
            b"GIF",
            b"P6",
        ] {
            assert!(!by_content(text), "{text:?}");
        }
    }
}
