//! Pictures as people have them: every layout of a JPEG, cut files, EXIF orientation, formats.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use mlaan::data::inspect::inspect;
use mlaan::data::{Image, Load, OpenOptions, Orientation, open, read_image};
use tempfile::TempDir;

/// Files of `python/jpegs.py` and the pixels that libjpeg makes of them.
const JPEGS: &str = include_str!("../python/jpegs.tsv");
/// Files of `python/pictures.py` and the pixels that Pillow makes of them.
const PICTURES: &str = include_str!("../python/pictures.tsv");

/// What was read of these bytes, or what was said of them.
fn read(bytes: &[u8], orientation: Orientation) -> Result<Image, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    read_image(file.path(), 0, orientation).map_err(|e| e.to_string())
}

#[track_caller]
fn refused(bytes: &[u8], part: &str) {
    match read(bytes, Orientation::Exif) {
        Ok(image) => panic!("{}x{} pixels read; `{part}` expected", image.width, image.height),
        Err(message) => assert!(message.contains(part), "`{part}` is not in: {message}"),
    }
}

/// Name, file, and height, width and pixels.
fn jpegs() -> Vec<(&'static str, Vec<u8>, Image)> {
    listed(JPEGS)
}

fn listed(lines: &'static str) -> Vec<(&'static str, Vec<u8>, Image)> {
    let one = |line: &'static str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let bytes = |at: usize| STANDARD.decode(fields[at]).unwrap();
        let (height, width) = (fields[1].parse().unwrap(), fields[2].parse().unwrap());
        (fields[0], bytes(3), Image { height, width, rgb: bytes(4) })
    };
    lines.lines().map(one).collect()
}

/// A JPEG whose components lie in one scan, and one whose lie in three.
fn one_and_three() -> [Vec<u8>; 2] {
    ["420, one", "420, three"].map(|name| jpegs().into_iter().find(|(n, ..)| n.starts_with(name)).unwrap().1)
}

#[test]
fn jpegs_of_every_layout_are_what_libjpeg_makes_of_them() {
    for (name, file, expected) in jpegs() {
        let image = read(&file, Orientation::Ignore).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((image.height, image.width), (expected.height, expected.width), "{name}");
        let most = image.rgb.iter().zip(&expected.rgb).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(most <= Some(4), "{name}: {most:?}");
    }
}

#[test]
fn pictures_of_every_format_are_what_pillow_makes_of_them() {
    for (name, file, expected) in listed(PICTURES) {
        let image = read(&file, Orientation::Exif).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((image.height, image.width), (expected.height, expected.width), "{name}");
        let most = image.rgb.iter().zip(&expected.rgb).map(|(a, b)| a.abs_diff(*b)).max();
        let bound = if name.contains("JPEG") { 4 } else { u8::from(name.contains("16 bits")) };
        assert!(most <= Some(bound), "{name}: {most:?}");
    }
}

/// JPEGs with arithmetic coding.
fn arithmetic() -> Vec<Vec<u8>> {
    jpegs().into_iter().filter(|(name, ..)| name.starts_with("arithmetic")).map(|(_, file, _)| file).collect()
}

/// The bits of a byte that are turned over: one pattern a byte, in turn, or all where tests take their time.
fn damage(at: usize) -> impl Iterator<Item = u8> {
    let all = [0x01, 0x55, 0xFF];
    let own = all[at % all.len()];
    all.into_iter().filter(move |bits| mlaan_host_cuda::thorough() || *bits == own)
}

#[test]
fn damaged_arithmetic_codes_end() {
    for file in arithmetic() {
        let scan = file.windows(2).position(|w| w == [0xFF, 0xDA]).unwrap();
        for at in 0..file.len() {
            for bits in damage(at) {
                let mut other = file.clone();
                other[at] ^= bits;
                let _ = read(&other, Orientation::Exif);
            }
        }
        // Without any codes: decisions go on, with zeros, but no further than the picture.
        let none = [&file[..scan + 2 + usize::from(file[scan + 3])], &[0xFF, 0xD9]].concat();
        let _ = read(&none, Orientation::Exif);
        // As large a picture as there is, in these few bytes.
        let mut large = file.clone();
        let frame = large.windows(2).position(|w| w[0] == 0xFF && matches!(w[1], 0xC9 | 0xCA)).unwrap();
        large[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF]);
        refused(&large, "too many for an image");
    }
}

#[test]
fn damaged_components_in_scans_of_their_own_are_read_or_refused() {
    for (name, file, _) in jpegs().into_iter().filter(|(name, ..)| name.starts_with("between")) {
        for at in 0..file.len() {
            for bits in damage(at) {
                let mut other = file.clone();
                other[at] ^= bits;
                let said = read(&other, Orientation::Exif).err().unwrap_or_default();
                assert!(!said.contains("the decoder failed"), "{name}, byte {at} by {bits:#x}: {said}");
            }
        }
        // Codes that end before the last block.
        let scan = file.windows(2).rposition(|w| w == [0xFF, 0xDA]).unwrap();
        let short = [&file[..scan + 2 + usize::from(file[scan + 3]) + 3], &[0xFF, 0xD9]].concat();
        if !name.contains("arithmetic") {
            refused(&short, "the file");
        }
    }
}

/// A little-endian TIFF of 2x1 pixels, by its entries (tag, kind and value of one number), and the bytes of its only strip.
fn tiff(entries: &[(u16, u16, u32)], strip: &[u8]) -> Vec<u8> {
    let mut all = vec![(256, 3, 2), (257, 3, 1), (273, 4, 8), (278, 3, 1), (279, 4, strip.len() as u32)];
    all.extend(entries);
    all.sort_unstable();
    let mut file = b"II*\0".to_vec();
    file.extend((8 + strip.len() as u32).to_le_bytes());
    file.extend(strip);
    file.extend((all.len() as u16).to_le_bytes());
    for (tag, kind, value) in all {
        file.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        file.extend([1_u32.to_le_bytes(), value.to_le_bytes()].concat());
    }
    file.extend([0; 4]);
    file
}

#[test]
fn tiffs_that_are_not_read_are_refused_by_name() {
    let grey = |bits: u32, more: &[(u16, u16, u32)]| {
        let mut entries = vec![(258, 3, bits), (262, 3, 1)];
        entries.retain(|(tag, ..)| more.iter().all(|(other, ..)| other != tag));
        entries.extend(more);
        tiff(&entries, &[7; 16])
    };
    assert_eq!(read(&grey(8, &[]), Orientation::Exif).unwrap().rgb, [7; 6]);
    for (file, part) in [
        (grey(8, &[(339, 3, 2)]), "TIFF of signed samples (8 bits) is not read here"),
        (grey(32, &[]), "TIFF with 32 bits a sample is not read here"),
        (grey(12, &[]), "12 bits a sample"),
        (grey(64, &[(339, 3, 3)]), "floating-point samples of 64 bits"),
        (grey(16, &[(339, 3, 6)]), "complex samples"),
        (grey(8, &[(259, 3, 34925)]), "TIFF with LZMA compression"),
        (grey(8, &[(259, 3, 6)]), "JPEG compression of the old kind"),
        (grey(8, &[(259, 3, 9999)]), "compression 9999"),
        (grey(8, &[(262, 3, 8)]), "CIELAB"),
        (grey(8, &[(262, 3, 32803)]), "a camera's raw file"),
        (grey(8, &[(50706, 4, 1)]), "a camera's raw file"),
        (grey(1, &[(266, 3, 2)]), "FillOrder 2"),
        (grey(8, &[(262, 3, 6), (277, 3, 3)]), "subsampled YCbCr"),
    ] {
        refused(&file, part);
        refused(&file, "convert it to JPEG or PNG");
    }
    // Colours that are numbers need those colours.
    refused(&grey(8, &[(262, 3, 3)]), "lacks colors of its palette");
}

#[test]
fn floating_point_tiffs_are_read_from_0_to_1() {
    let floats = |values: [f32; 2]| {
        let strip: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        tiff(&[(258, 3, 32), (262, 3, 1), (339, 3, 3)], &strip)
    };
    let image = read(&floats([0.2, 1.0]), Orientation::Exif).unwrap();
    assert_eq!(image.rgb, [51, 51, 51, 255, 255, 255]);
    refused(&floats([0.0, 200.0]), "from 0 to 200; 0 to 1 is read: scale them");
    refused(&floats([-0.5, 1.0]), "from -0.5 to 1;");
    refused(&floats([0.5, f32::NAN]), "NaN");
}

#[test]
fn jpegs_that_are_not_read_are_refused_by_name() {
    let [one, _] = one_and_three();
    let frame = one.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    let with = |at: usize, value: u8| {
        let mut other = one.clone();
        other[frame + at] = value;
        other
    };
    for (at, value, part) in [
        (1, 0xC3, "lossless JPEG is not read here"),
        (1, 0xCB, "lossless JPEG"),
        (1, 0xCD, "hierarchical"),
        (1, 0xF7, "JPEG-LS"),
        (1, 0xC5, "hierarchical"),
        (4, 12, "12 bits a sample"),
        (11, 0x50, "sampling factors are 1 to 4"),
    ] {
        refused(&with(at, value), part);
    }
    let mut flat = one.clone();
    flat[frame + 5..frame + 7].fill(0);
    refused(&flat, "height follows behind");
    // Two components: the third is taken out of the header.
    let mut two = one.clone();
    (two[frame + 3], two[frame + 9]) = (14, 2);
    two.drain(frame + 16..frame + 19);
    refused(&two, "JPEG with 2 components");
}

#[test]
fn jpegs_end_where_their_pictures_end() {
    let small = one_and_three()[0].clone();
    // A thumbnail in the metadata, which has an end of its own.
    let exif = [b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0", &small[..]].concat();
    let segment = [&[0xFF, 0xE1][..], &(exif.len() as u16 + 2).to_be_bytes(), &exif].concat();
    for file in one_and_three() {
        let whole = [&file[..2], &segment, &file[2..]].concat();
        let picture = read(&whole, Orientation::Exif).unwrap();
        for lost in [1, 2, 20, file.len() / 3, file.len() - 40] {
            refused(&whole[..whole.len() - lost], "cut off");
        }
        // Another picture behind it (MPF), a video (motion photo), fill bytes before markers.
        for tail in [&file[..], &vec![7; 200_000], b"\xFF\xFF\xFF"] {
            assert_eq!(read(&[&whole[..], tail].concat(), Orientation::Exif).unwrap(), picture);
        }
        let filled = [&whole[..whole.len() - 2], b"\xFF\xFF\xFF\xD9"].concat();
        assert_eq!(read(&filled, Orientation::Exif).unwrap(), picture);
        // The next file begins where this one is cut.
        refused(&[&whole[..whole.len() - 20], &file].concat(), "cut off");
    }
    let [_, three] = one_and_three();
    let scans: Vec<usize> = (0..three.len() - 1).filter(|&i| three[i..i + 2] == [0xFF, 0xDA]).collect();
    refused(&[&three[..scans[2]], &[0xFF, 0xD9]].concat(), "lacks a component");
    let many = three[scans[0]..scans[1]].repeat(300);
    refused(&[&three[..scans[0]], &many, &three[scans[0]..]].concat(), "scans are too many");
}

fn picture() -> DynamicImage {
    RgbImage::from_fn(20, 12, |x, y| Rgb([(x * 12) as u8, (y * 20) as u8, (x * y) as u8])).into()
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

const LOSSLESS: [ImageFormat; 6] = [
    ImageFormat::Png,
    ImageFormat::WebP,
    ImageFormat::Bmp,
    ImageFormat::Gif,
    ImageFormat::Tiff,
    ImageFormat::Pnm,
];

#[test]
fn files_that_are_cut_anywhere_are_refused() {
    for format in LOSSLESS.into_iter().chain([ImageFormat::Jpeg]) {
        let whole = encoded(&picture(), format);
        let read_whole = read(&whole, Orientation::Exif).unwrap();
        assert_eq!((read_whole.height, read_whole.width), (12, 20));
        if !matches!(format, ImageFormat::Jpeg | ImageFormat::Gif) {
            assert_eq!(&read_whole.rgb, picture().as_bytes(), "{format:?}");
        }
        // The directory of a TIFF lies behind its pixels.
        for lost in 1..whole.len() {
            assert!(
                read(&whole[..whole.len() - lost], Orientation::Exif).is_err(),
                "{format:?}: {lost} less"
            );
        }
    }
}

/// The bytes of an EXIF block with this orientation.
fn exif(value: u8) -> Vec<u8> {
    [&b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..], &[value, 0, 0, 0, 0, 0, 0]].concat()
}

/// A PNG's chunk.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [&kind[..], data].concat();
    [&(data.len() as u32).to_be_bytes()[..], &body, &crc32fast::hash(&body).to_be_bytes()].concat()
}

/// The picture with this orientation, in every format that says one.
fn oriented(image: &DynamicImage, value: u8) -> Vec<(&'static str, Vec<u8>)> {
    let block = exif(value);
    let jpeg = encoded(image, ImageFormat::Jpeg);
    let segment = [&[0xFF, 0xE1][..], &(block.len() as u16 + 8).to_be_bytes(), b"Exif\0\0", &block].concat();
    let png = encoded(image, ImageFormat::Png);
    let end = png.len() - 12;
    let mut webp = encoded(image, ImageFormat::WebP);
    // An extended header announces the block that follows the pixels.
    let extended = [&b"VP8X\x0A\0\0\0\x08\0\0\0"[..], &[19, 0, 0, 11, 0, 0]].concat();
    webp.splice(12..12, extended);
    webp.extend([&b"EXIF"[..], &(block.len() as u32).to_le_bytes(), &block].concat());
    let size = (webp.len() as u32 - 8).to_le_bytes();
    webp[4..8].copy_from_slice(&size);
    let mut tiff = encoded(image, ImageFormat::Tiff);
    add_tag(&mut tiff, value);
    vec![
        ("jpg", [&jpeg[..2], &segment, &jpeg[2..]].concat()),
        ("png", [&png[..33], &chunk(b"eXIf", &block), &png[33..]].concat()),
        ("late.png", [&png[..end], &chunk(b"eXIf", &block), &png[end..]].concat()),
        ("webp", webp),
        ("tif", tiff),
    ]
}

/// Puts the tag of the orientation into a little-endian TIFF, whose directory becomes its last part.
fn add_tag(tiff: &mut Vec<u8>, value: u8) {
    let number = |at: usize| u32::from_le_bytes(tiff[at..at + 4].try_into().unwrap()) as usize;
    let from = number(4);
    let count = usize::from(u16::from_le_bytes([tiff[from], tiff[from + 1]]));
    let mut entries: Vec<Vec<u8>> =
        tiff[from + 2..from + 2 + 12 * count].chunks(12).map(<[u8]>::to_vec).collect();
    entries.push(vec![0x12, 1, 3, 0, 1, 0, 0, 0, value, 0, 0, 0]);
    entries.sort_by_key(|e| u16::from_le_bytes([e[0], e[1]]));
    if tiff.len() % 2 == 1 {
        tiff.push(0);
    }
    let at = tiff.len() as u32;
    tiff[4..8].copy_from_slice(&at.to_le_bytes());
    tiff.extend((entries.len() as u16).to_le_bytes());
    tiff.extend(entries.concat());
    tiff.extend([0; 4]);
}

/// What a viewer shows: `image`'s own operations.
fn upright(image: &DynamicImage, value: u8) -> DynamicImage {
    match value {
        2 => image.fliph(),
        3 => image.rotate180(),
        4 => image.flipv(),
        5 => image.rotate90().fliph(),
        6 => image.rotate90(),
        7 => image.rotate270().fliph(),
        8 => image.rotate270(),
        _ => image.clone(),
    }
}

#[test]
fn all_orientations_are_turned_in_every_format() {
    for value in 0..=9 {
        let seen = upright(&picture(), value);
        for (name, bytes) in oriented(&picture(), value) {
            let turned = read(&bytes, Orientation::Exif).unwrap_or_else(|e| panic!("{name}: {e}"));
            let expected = (seen.height() as usize, seen.width() as usize);
            assert_eq!((turned.height, turned.width), expected, "{name}, {value}");
            let stored = read(&bytes, Orientation::Ignore).unwrap();
            assert_eq!((stored.height, stored.width), (12, 20), "{name}, {value}");
            if name != "jpg" {
                assert_eq!(&turned.rgb, seen.as_bytes(), "{name}, {value}");
                assert_eq!(&stored.rgb, picture().as_bytes(), "{name}, {value}");
            } else if let Some(stored) = RgbImage::from_raw(20, 12, stored.rgb) {
                assert_eq!(turned.rgb, upright(&stored.into(), value).into_bytes(), "{value}");
            }
        }
    }
}

/// Class folders of pictures that are all to be turned, in all formats.
fn sideways(root: &Path, classes: [&str; 2]) {
    for split in ["train", "test"] {
        for (c, class) in classes.iter().enumerate() {
            let folder = root.join(split).join(class);
            fs::create_dir_all(&folder).unwrap();
            for (i, value) in [6, 3, 8, 5].into_iter().enumerate() {
                let picture = picture().brighten((30 * c + 10 * i) as i32);
                for (name, bytes) in oriented(&picture, value) {
                    fs::write(folder.join(format!("{i}.{name}")), bytes).unwrap();
                }
            }
        }
    }
}

#[test]
fn sets_are_turned_alike_in_memory_and_on_disk_and_published_ones_are_not() {
    let root = TempDir::new().unwrap();
    sideways(root.path(), ["a", "b"]);
    let source = root.path().to_str().unwrap();
    let opened = |load, orientation| {
        open(source, &OpenOptions { load, orientation, ..OpenOptions::default() }).unwrap()
    };
    for (asked, kept, tall) in [
        (Orientation::Auto, Orientation::Exif, true),
        (Orientation::Exif, Orientation::Exif, true),
        (Orientation::Ignore, Orientation::Ignore, false),
    ] {
        let (memory, stream) = (opened(Load::Memory, asked), opened(Load::Stream, asked));
        assert_eq!((memory.orientation, stream.orientation), (kept, kept));
        let (mut one, mut other) = (Vec::new(), Vec::new());
        for i in 0..memory.train.len() {
            let image = memory.train.image(i, &mut one).unwrap();
            assert_eq!(image, stream.train.image(i, &mut other).unwrap());
            let turned_by_quarters = i % 20 / 5 != 1;
            assert_eq!(image.height > image.width, tall && turned_by_quarters, "{asked:?}, {i}");
        }
        if tall {
            // A turned image is a copy.
            assert!(stream.train.work_bytes() > 2 * 12 * 20 * 3);
        }
    }
    let seen = inspect(source, &mut |_, _| {}).unwrap();
    assert_eq!(
        (seen.train.turned, seen.orientation, seen.problem_count),
        (40, Orientation::Exif, seen.shared)
    );
    assert_eq!(seen.train.sizes.unwrap().most, [20, 12]);
    // ImageNet's classes: results are compared with those of others, who do not turn them.
    let published = TempDir::new().unwrap();
    sideways(published.path(), ["n01440764", "n01443537"]);
    let splits = open(published.path().to_str().unwrap(), &OpenOptions::default()).unwrap();
    assert_eq!(splits.orientation, Orientation::Ignore);
    let seen = inspect(published.path().to_str().unwrap(), &mut |_, _| {}).unwrap();
    assert_eq!((seen.train.turned, seen.train.sizes.unwrap().most), (40, [12, 20]));
}

#[test]
fn the_contents_of_a_file_say_what_it_is_and_any_usual_ending_is_one() {
    let root = TempDir::new().unwrap();
    for split in ["train", "test"] {
        for class in ["a", "b"] {
            let folder = root.path().join(split).join(class);
            fs::create_dir_all(&folder).unwrap();
            let endings = ["bmp", "GIF", "tif", "PPM", "jfif", "JPE"];
            for (ending, format) in endings.into_iter().zip(LOSSLESS) {
                fs::write(folder.join(format!("1.{ending}")), encoded(&picture(), format)).unwrap();
            }
        }
    }
    let seen = inspect(root.path().to_str().unwrap(), &mut |_, _| {}).unwrap();
    assert_eq!((seen.train.images, seen.train.broken, seen.test.broken), (12, 0, 0), "{:?}", seen.problems);
    let (found, _) = mlaan::predict::find(&[root.path().join("train")]).unwrap();
    assert_eq!(found.len(), 12);
}

#[test]
fn images_without_an_ending_or_with_a_wrong_one_are_found() {
    for ending in ["", ".txt", ".0"] {
        let root = TempDir::new().unwrap();
        for split in ["train", "test"] {
            for class in ["a", "b"] {
                let folder = root.path().join(split).join(class);
                fs::create_dir_all(&folder).unwrap();
                for (n, format) in LOSSLESS.into_iter().chain([ImageFormat::Jpeg]).enumerate() {
                    fs::write(folder.join(format!("{n}{ending}")), encoded(&picture(), format)).unwrap();
                }
                fs::write(folder.join("notes"), "BMW, P1 and II").unwrap();
            }
        }
        let seen = inspect(root.path().to_str().unwrap(), &mut |_, _| {}).unwrap();
        assert_eq!((seen.train.images, seen.train.broken), (14, 0), "{ending:?}: {:?}", seen.problems);
    }
}

#[test]
fn images_of_one_colour_deviate_by_nothing() {
    let root = TempDir::new().unwrap();
    for split in ["train", "test"] {
        for class in ["a", "b"] {
            let folder = root.path().join(split).join(class);
            fs::create_dir_all(&folder).unwrap();
            RgbImage::from_pixel(4, 4, Rgb([10, 20, 30])).save(folder.join("1.png")).unwrap();
        }
    }
    let pixels = inspect(root.path().to_str().unwrap(), &mut |_, _| {}).unwrap().train.pixels.unwrap();
    assert_eq!(pixels.std, [0.0; 3]);
    assert!((pixels.mean[0] - 10.0 / 255.0).abs() < 1e-6);
    // What a network divides by is another thing.
    let splits = open(root.path().to_str().unwrap(), &OpenOptions::default()).unwrap();
    assert_eq!(mlaan::data::Normalise::measure(splits.train.as_ref()).unwrap().std, [1.0; 3]);
}
