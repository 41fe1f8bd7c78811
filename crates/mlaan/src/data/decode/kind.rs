//! Which format an image is in, by its first bytes: what a file is called says nothing sure.

use image::ImageFormat;

use super::Fault;

/// What files of images are called: endings in lower case, without the dot. Any of them may hold any format that is read.
pub const IMAGE_ENDINGS: [&str; 14] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "pbm", "pnm"];
/// Formats that are read, for people.
pub(in crate::data) const READ: &str = "JPEG, PNG, WebP, BMP, GIF, TIFF and PNM";

/// The format of an image that is read here.
///
/// # Errors
/// No image, or one of a format that is not read: said by its name.
pub(in crate::data) fn kind(encoded: &[u8]) -> Result<ImageFormat, Fault> {
    if encoded.is_empty() {
        return Err("the image is empty (0 bytes)".into());
    }
    // What `image` guesses by two bytes alone is as likely text.
    if encoded.starts_with(b"BM") && encoded.len() < 26 {
        return Err("the file ends within its header: it is cut off".into());
    }
    // `image` does not know the large ones.
    if encoded.starts_with(b"II+\0") || encoded.starts_with(b"MM\0+") {
        return Ok(ImageFormat::Tiff);
    }
    match image::guess_format(encoded) {
        Ok(
            format @ (ImageFormat::Jpeg
            | ImageFormat::Png
            | ImageFormat::WebP
            | ImageFormat::Bmp
            | ImageFormat::Gif
            | ImageFormat::Tiff
            | ImageFormat::Pnm),
        ) => Ok(format),
        _ => match (placeholder(encoded), other(encoded)) {
            (Some(what), _) => Err(what.into()),
            (None, Some(name)) => Err(unread(name)),
            (None, None) => Err(format!("not an image: {READ} are read").into()),
        },
    }
}

/// What lies in the place of a file that was never fetched, by its first bytes, and what to do.
pub(in crate::data) fn placeholder(head: &[u8]) -> Option<&'static str> {
    const LFS: &[u8] = b"version https://git-lfs.github.com/spec/";
    if head.starts_with(LFS) {
        return Some("it is a Git-LFS pointer, not the file itself: run `git lfs pull`");
    }
    let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start();
    let begins = |start: &[u8]| head.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start));
    let page = begins(b"<!doctype html") || begins(b"<html") || begins(b"<head");
    // Stores answer so what they do not have.
    let answer = begins(b"<?xml") && head.windows(7).take(256).any(|window| window == b"<Error>");
    (page || answer).then_some("a web page was saved in its place: download it again")
}

/// [`placeholder`] of a file on disk.
pub(in crate::data) fn file_placeholder(path: &std::path::Path) -> Option<&'static str> {
    use std::io::Read;
    let mut head = Vec::new();
    crate::files::open(path).and_then(|file| file.take(512).read_to_end(&mut head)).ok()?;
    placeholder(&head)
}

/// Refuses a file in whose place a [`placeholder`] lies.
///
/// # Errors
/// What it is.
pub(in crate::data) fn fetched(path: &std::path::Path) -> crate::Result<()> {
    match file_placeholder(path) {
        Some(what) => Err(crate::Error::data(path.display().to_string(), what)),
        None => Ok(()),
    }
}

/// An image of a kind that is not read.
pub(in crate::data) fn unread(kind: &str) -> Fault {
    Fault::unread(format!("{kind} is not read here ({READ} are): convert it to JPEG or PNG"))
}

/// Formats of images that are not read, by their first bytes.
fn other(encoded: &[u8]) -> Option<&'static str> {
    let at = |offset: usize, magic: &[u8]| encoded.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    // Boxes of ISO media files begin with their length; these have their brand behind `ftyp`.
    if at(4, b"ftyp") {
        let brands = encoded.get(8..encoded.len().min(64)).unwrap_or_default();
        let has = |names: &[&[u8]]| brands.chunks_exact(4).any(|brand| names.contains(&brand));
        return Some(match () {
            () if has(&[b"avif", b"avis"]) => "AVIF",
            () if has(&[b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"]) => "HEIC",
            () => "a video (ISO media file)",
        });
    }
    const KNOWN: [(&[u8], &str); 21] = [
        (b"\x00\x00\x00\x0CJXL \r\n\x87\n", "JPEG XL"),
        (b"\xFF\x0A", "JPEG XL"),
        (b"\x00\x00\x00\x0CjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xFF\x4F\xFF\x51", "JPEG 2000"),
        (b"8BPS", "a Photoshop document"),
        (b"DDS ", "DDS"),
        (b"\x00\x00\x01\x00", "an icon (ICO)"),
        (b"v/1\x01", "OpenEXR"),
        (b"#?RADIANCE", "Radiance HDR"),
        (b"qoif", "QOI"),
        (b"farbfeld", "farbfeld"),
        (b"II\xBC\x01", "JPEG XR"),
        (b"<svg", "SVG"),
        (b"%PDF", "PDF"),
        (b"PF\n", "a portable float map"),
        (b"Pf\n", "a portable float map"),
        (b"%!PS", "PostScript"),
        (b"icns", "an icon (ICNS)"),
        (b"\x01\xDA\x00", "SGI"),
        (b"\x01\xDA\x01", "SGI"),
        (b"\x0A\x05\x01", "PCX"),
    ];
    KNOWN.iter().find(|(magic, _)| at(0, magic)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_files_of_other_formats_are_named_and_not_called_broken() {
        for (bytes, name) in [
            (&b"\x00\x00\x00\x1CftypavifABCDmif1miaf"[..], "AVIF"),
            (b"\x00\x00\x00\x18ftypheicABCDmif1heic", "HEIC"),
            (b"\x00\x00\x00\x18ftypmp42ABCDisommp42", "video"),
            (b"\xFF\x0A1234567890", "JPEG XL"),
            (b"\x00\x00\x00\x0CjP  \r\n\x87\n1234", "JPEG 2000"),
            (b"\x0A\x05\x01\x08\0\0\0\0", "PCX"),
            (b"Pf\n2 2\n-1.0\n", "float map"),
            (b"8BPS\x00\x01", "Photoshop"),
        ] {
            let fault = kind(bytes).unwrap_err();
            assert!(fault.said().contains(name) && !fault.said().contains("broken"), "{fault:?}");
        }
        for (bytes, says) in [
            (
                &b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"[..],
                "git lfs pull",
            ),
            (b"\xEF\xBB\xBF\n <!DOCTYPE HTML><html>", "a web page"),
            (b"<HTML lang=en>", "a web page"),
            (b"<?xml version='1.0'?>\n<Error><Code>NoSuchKey</Code></Error>", "a web page"),
        ] {
            assert!(kind(bytes).unwrap_err().contains(says));
        }
        assert_eq!(placeholder(b"<?xml version='1.0'?><svg/>"), None);
        assert!(kind(b"hello, world").unwrap_err().said().contains("broken image: not an image"));
    }
}
