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
        _ => match other(encoded) {
            Some(name) => Err(unread(name)),
            None => Err(format!("not an image: {READ} are read").into()),
        },
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
        assert!(kind(b"hello, world").unwrap_err().said().contains("broken image: not an image"));
    }
}
