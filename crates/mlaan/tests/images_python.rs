//! Images against Pillow (libjpeg-turbo): every layout of a JPEG, every mode of the other formats, every orientation.
#![allow(clippy::unwrap_used, clippy::panic)] // In helpers of tests a failure is a failed test.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::python::python;
use mlaan::data::{Orientation, read_image};
use tempfile::TempDir;

/// Puts files and, beside each, the pixels that Pillow makes of it; prints number, kind, height, width and name.
const COMMON: &str = r#"
import io, os, sys
from PIL import Image, ImageOps
sys.path.insert(0, sys.argv[2])
count = 0
def put(kind, name, file, turned=False):
    global count
    try:
        image = Image.open(io.BytesIO(file))
        image = (ImageOps.exif_transpose(image) if turned else image).convert("RGB")
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
fn other_formats_are_pillow_s_to_the_bit() {
    compare(OTHERS, Orientation::Ignore, &[("exact", 0, 0.0), ("rounded", 1, 0.1)]);
}

#[test]
fn orientations_are_pillow_s() {
    compare(ORIENTATIONS, Orientation::Exif, &[("turned", 0, 0.0), ("turned jpeg", 4, 0.5)]);
}
