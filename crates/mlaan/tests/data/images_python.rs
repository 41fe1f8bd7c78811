//! Images against Pillow (libjpeg-turbo): every layout of a JPEG, every mode of the other formats, every orientation.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use crate::common::python::python;
use mlaan::data::{Orientation, read_image};
use tempfile::TempDir;

/// Puts files and, beside each, the pixels that Pillow makes of it; prints number, kind, height, width and name.
const COMMON: &str = r#"
import io, os, sys
from PIL import Image, ImageOps
sys.path.insert(0, sys.argv[2])
import pictures
count = 0
def put(kind, name, file, turned=False):
    global count
    try:
        image = Image.open(io.BytesIO(file))
        image = pictures.rgb(ImageOps.exif_transpose(image) if turned else image)
    except OSError:
        # Layouts that libjpeg itself refuses.
        return
    open(f"{sys.argv[1]}/{count}", "wb").write(file)
    open(f"{sys.argv[1]}/{count}.rgb", "wb").write(image.tobytes())
    print(count, kind, image.height, image.width, name, sep="\t")
    count += 1
def encoded(image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()
def smooth(height, width):
    image = Image.new("RGB", (width, height))
    image.putdata([(x * 3 % 256, 255 - y * 2 % 256, (x + y) * 2 % 256) for y in range(height) for x in range(width)])
    return image
"#;

const LAYOUTS: &str = r#"
import jpegs
for name, file in jpegs.layouts([(37, 53), (1, 1), (9, 70)]):
    put("layout", name, file)
"#;

/// What encoders write, in sizes around every multiple of a block.
const ENCODED: &str = r#"
for height, width in [(h, w) for h in (1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 47, 49) for w in (1, 8, 15, 17, 33, 65, 97, 130)]:
    image = smooth(height, width)
    for subsampling in (0, 1, 2):
        for progressive in (False, True):
            for mode in ("RGB", "CMYK", "L"):
                if mode == "L" and subsampling:
                    continue
                file = encoded(image.convert(mode), "JPEG", quality=90, subsampling=subsampling, progressive=progressive)
                put("encoded", f"{mode} {width}x{height}, subsampling {subsampling}, progressive {progressive}", file)
"#;

/// Sharp colours up to the edges, in sizes where the decoder of usual files and libjpeg differ: it takes the last column and row
/// of colours that are halved for their own neighbours, and interpolates also where there are two columns of them, where
/// libjpeg repeats them.
const EDGES: &str = r#"
import random
draw = random.Random(0)
noise = Image.frombytes("RGB", (60, 60), bytes(draw.randrange(256) for _ in range(60 * 60 * 3)))
for kind, widths, heights in (("narrow", (1, 2, 3, 4), (1, 2, 5, 16, 33, 64)), ("low", (5, 6, 16, 33, 100), (1, 2, 3, 4)),
                              ("edge", (5, 6, 8, 31, 33, 64, 99, 100, 130, 200, 1000), (5, 64, 65))):
    for width in widths:
        for height in heights:
            image = noise.resize((240, 240), Image.BICUBIC).resize((max(240, width), 240)).crop((0, 0, width, height))
            for subsampling in (1, 2):
                put(kind, f"{width}x{height}, subsampling {subsampling}", encoded(image, "JPEG", quality=90, subsampling=subsampling))
"#;

const OTHERS: &str = r#"
image = smooth(37, 53)
def modes(form, *names, **options):
    for mode in names:
        alpha = mode == "RGBA"
        source = Image.merge("RGBA", (*image.split(), image.split()[0])) if alpha else image.convert(mode)
        put("exact", f"{form} {mode} {options}", encoded(source, form, **options))
modes("PNG", "1", "L", "LA", "P", "RGB", "RGBA")
modes("BMP", "1", "L", "P", "RGB", "RGBA")
modes("PPM", "1", "L", "RGB")
modes("GIF", "1", "L", "P", "RGB")
modes("GIF", "P", transparency=3)
modes("GIF", "RGB", save_all=True, append_images=[image.rotate(180)])
for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits"):
    modes("TIFF", "1", "L", "RGB", "RGBA", "CMYK", compression=compression)
modes("TIFF", "1", compression="group4")
modes("TIFF", "RGB", save_all=True, append_images=[image.rotate(90)])
modes("WEBP", "RGB", "RGBA", lossless=True, exact=True)
raw = image.tobytes()
put("rounded", "PPM of 100", b"P6\n53 37\n100\n" + bytes(v * 100 // 255 for v in raw))
put("exact", "PPM in text", b"P3\n# a comment\n53 37\n255\n" + " ".join(map(str, raw)).encode())
put("exact", "PPM of 16 bits", b"P6\n53 37\n65535\n" + b"".join(bytes([v, v]) for v in raw))
"#;

const ORIENTATIONS: &str = r#"
image = smooth(40, 60)
for value in range(1, 9):
    exif = Image.Exif()
    exif[0x112] = value
    for form, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("JPEG", {"quality": 90})):
        file = encoded(image, form, exif=exif, **options)
        put("turned" if form != "JPEG" else "turned jpeg", f"{form} {value}", file, turned=True)
"#;

/// Files that need `jpegtran`.
const TRANSCODED: &str = r#"
import jpegs
for name, file in jpegs.arithmetics([(37, 53), (1, 1), (9, 70), (16, 16)]):
    put("arithmetic", name, file)
for name, file in jpegs.betweens([(37, 53), (70, 9), (9, 70), (76, 100)]):
    put("between", name, file)
"#;

const PNGS: &str = r#"
import random, struct, zlib
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
for colour, count, depths in ((0, 1, (1, 2, 4, 8, 16)), (2, 3, (8, 16)), (3, 1, (1, 2, 4, 8)), (4, 2, (8, 16)), (6, 4, (8, 16))):
    for bits in depths:
        for interlaced in (0, 1):
            for transparent in (False, True) if colour in (0, 2, 3) else (False,):
                draw = random.Random(bits * 10 + colour)
                values = [[tuple(draw.randrange(1 << bits) for _ in range(count)) for x in range(13)] for y in range(9)]
                parts = [values] if not interlaced else [[row[x::dx] for row in values[y::dy]] for x, y, dx, dy in passes]
                lines = [b"\0" + pictures.packed([[v for p in row for v in p]], bits, ">") for part in parts for row in part if row]
                file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 13, 9, bits, colour, 0, 0, interlaced))
                if colour == 3:
                    file += chunk(b"PLTE", b"".join(bytes([i * 7 % 256, i * 13 % 256, 255 - i]) for i in range(1 << bits)))
                if transparent:
                    file += chunk(b"tRNS", bytes(range(0, 100, 50)) if colour == 3 else struct.pack(">" + "H" * count, *values[0][0]))
                file += chunk(b"IDAT", zlib.compress(b"".join(lines))) + chunk(b"IEND", b"")
                put("rounded" if bits == 16 else "exact", f"PNG of colour type {colour}, {bits} bits, {interlaced} {transparent}", file)
image = smooth(37, 53)
alpha = Image.merge("RGBA", (*image.split(), image.split()[0]))
for source in (image, alpha):
    for first in (False, True):
        put("exact", f"APNG {source.mode} {first}", encoded(source, "PNG", save_all=True, append_images=[source.rotate(90)], default_image=first))
    put("exact", f"animated WebP {source.mode}", encoded(source, "WEBP", save_all=True, append_images=[source.rotate(90)], lossless=True, exact=True))
"#;

const PICTURES: &str = r#"
for kind, name, file, turned in pictures.pictures():
    put(kind, name, file, turned)
"#;

/// By how much values may differ, at the most and on average, as kinds have it.
fn compare(script: &str, orientation: Orientation, bounds: &[(&str, u8, f64)]) {
    let Some(python) = python(&["PIL"]) else { return };
    let root = TempDir::new().unwrap();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let listed = python.run(&format!("{COMMON}{script}"), &[root.path(), &scripts]);
    let mut worst: BTreeMap<&str, (u8, f64, usize)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for line in listed.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [number, kind, height, width, name] = fields[..] else { panic!("{line}") };
        let sides: (usize, usize) = (height.parse().unwrap(), width.parse().unwrap());
        let expected = fs::read(root.path().join(format!("{number}.rgb"))).unwrap();
        let image = match read_image(&root.path().join(number), 0, orientation) {
            Ok(image) => image,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        if (image.height, image.width) != sides {
            wrong.push(format!("{name}: {}x{}", image.width, image.height));
            continue;
        }
        let differences = || image.rgb.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b));
        let most = differences().max().unwrap_or(0);
        let mean = differences().map(f64::from).sum::<f64>() / expected.len() as f64;
        let &(_, bound, mean_bound) = bounds.iter().find(|(of, ..)| *of == kind).unwrap();
        if most > bound || mean > mean_bound {
            wrong.push(format!("{name}: differs by up to {most}, {mean:.3} on average"));
        }
        let seen = worst.entry(kind).or_default();
        *seen = (seen.0.max(most), seen.1.max(mean), seen.2 + 1);
    }
    println!("files by kind: greatest difference, greatest mean, number: {worst:?}");
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), listed.lines().count(), wrong.join("\n"));
    assert!(!worst.is_empty());
}

#[test]
fn jpegs_of_all_layouts_are_pillow_s() {
    compare(LAYOUTS, Orientation::Ignore, &[("layout", 4, 0.4)]);
}

#[test]
fn jpegs_as_encoders_write_them_are_pillow_s() {
    compare(ENCODED, Orientation::Ignore, &[("encoded", 4, 0.75)]);
}

#[test]
fn edges_of_jpegs_differ_no_more_than_is_known() {
    compare(EDGES, Orientation::Ignore, &[("edge", 13, 0.85), ("low", 11, 0.9), ("narrow", 47, 12.0)]);
}

#[test]
fn other_formats_are_pillow_s_to_the_bit() {
    compare(OTHERS, Orientation::Ignore, &[("exact", 0, 0.0), ("rounded", 1, 0.1)]);
}

#[test]
fn jpegs_coded_otherwise_are_pillow_s() {
    let found = std::process::Command::new("jpegtran").arg("-version").output();
    if !found.is_ok_and(|out| out.status.success()) {
        // Past the capture of tests' output.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no `jpegtran` (Debian: libjpeg-turbo-progs)");
        return;
    }
    compare(TRANSCODED, Orientation::Ignore, &[("arithmetic", 4, 0.4), ("between", 4, 0.4)]);
}

#[test]
fn pngs_of_every_kind_are_pillow_s() {
    compare(PNGS, Orientation::Ignore, &[("exact", 0, 0.0), ("rounded", 1, 0.5)]);
}

#[test]
fn pictures_of_every_kind_are_pillow_s() {
    let bounds = [
        ("exact", 0, 0.0),
        ("rounded", 1, 0.5),
        ("near", 4, 0.75),
        ("turned", 0, 0.0),
        ("turned jpeg", 4, 0.75),
    ];
    compare(PICTURES, Orientation::Exif, &bounds);
}

#[test]
fn orientations_are_pillow_s() {
    compare(ORIENTATIONS, Orientation::Exif, &[("turned", 0, 0.0), ("turned jpeg", 4, 0.5)]);
}
