//! Valid inputs, most of them what tests make too.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "what is made here is valid")]

#[path = "../../mlaan/src/pickle/tests/fixtures.rs"]
mod fixtures;
#[path = "../../mlaan/tests/common/sets.rs"]
mod sets;

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use ::image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mlaan::Device;
use mlaan::recipe::{Recipe, builtin};
use mlaan::train::Trainer;
use zip::write::SimpleFileOptions;

use super::targets::FILE;

pub(crate) fn parquet() -> Vec<Vec<u8>> {
    super::parquet::files(&(0..7).map(|image| sets::png(0, image)).collect::<Vec<_>>())
}

pub(crate) fn images() -> Vec<Vec<u8>> {
    let colours = |x: u32, y: u32| [(x * 16) as u8, (y * 20) as u8, (x ^ y) as u8 * 8];
    let kinds = [
        DynamicImage::from(RgbImage::from_fn(16, 12, |x, y| Rgb(colours(x, y)))),
        DynamicImage::from(RgbaImage::from_fn(9, 17, |x, y| Rgba([x as u8 * 9, y as u8, 7, (x * y) as u8]))),
        DynamicImage::from(GrayImage::from_fn(12, 7, |x, y| Luma([(x * y) as u8 * 3]))),
    ];
    let mut files = Vec::new();
    for (n, image) in kinds.iter().enumerate() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            let mut bytes = Cursor::new(Vec::new());
            // JPEG has no transparency.
            let image = if n == 1 && format == ImageFormat::Jpeg {
                &DynamicImage::from(image.to_rgb8())
            } else {
                image
            };
            image.write_to(&mut bytes, format).expect("an image");
            files.push(bytes.into_inner());
        }
    }
    // Every layout of a JPEG, and the other formats in every kind; lines of which the fourth field is the file.
    let listed = [
        include_str!("../../mlaan/tests/python/jpegs.tsv"),
        include_str!("../../mlaan/tests/python/pictures.tsv"),
    ];
    let file = |line: &str| STANDARD.decode(line.split('\t').nth(3).expect("a file")).expect("base64");
    files.extend(listed.iter().flat_map(|text| text.lines()).map(file));
    files
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hexadecimal")).collect()
}

pub(crate) fn pickles() -> Vec<Vec<u8>> {
    use fixtures::{
        ARRAY_0, ARRAY_2, ARRAY_4, ARRAY_5, FORTRAN_4, NAMES, ORDERED_4, PLAIN_0, PLAIN_2, SCALARS_2,
        STATE_DICT,
    };
    let fixed =
        [PLAIN_0, PLAIN_2, ORDERED_4, ARRAY_0, ARRAY_2, ARRAY_4, ARRAY_5, FORTRAN_4, SCALARS_2, STATE_DICT];
    let meta = sets::cifar10_python().swap_remove(0).1;
    fixed.iter().chain(&NAMES).map(|hex| bytes(hex)).chain([meta]).collect()
}

/// As `torch.save` packs a state dict.
pub(crate) fn archives() -> Vec<Vec<u8>> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let numbers: Vec<u8> = (0..6).flat_map(|n| (n as f32).to_le_bytes()).collect();
    let members = [
        ("net/data.pkl", bytes(fixtures::STATE_DICT)),
        ("net/byteorder", b"little".to_vec()),
        ("net/data/0", numbers.clone()),
        ("net/data/1", 5_i64.to_le_bytes().to_vec()),
        ("net/version", b"3\n".to_vec()),
    ];
    for (name, bytes) in members {
        zip.start_file(name, stored).expect("a member");
        zip.write_all(&bytes).expect("a member");
    }
    vec![zip.finish().expect("an archive").into_inner(), old_archive(&numbers)]
}

/// As it did before version 1.6: pickles, then each storage's length and values.
fn old_archive(numbers: &[u8]) -> Vec<u8> {
    let begins = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.";
    let machine = b"\x80\x02}X\x0d\0\0\0little_endian\x88s.";
    let names = b"\x80\x02](X\x01\0\0\x000X\x01\0\0\x001e.";
    let values = [&6_u64.to_le_bytes(), numbers, &1_u64.to_le_bytes(), &5_i64.to_le_bytes()];
    [&begins[..], machine, &bytes(fixtures::STATE_DICT), names, &values.concat()].concat()
}

/// What a short run leaves, by the names of its files.
fn run() -> &'static BTreeMap<String, Vec<u8>> {
    static RUN: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    RUN.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut recipe = Recipe::load("quickstart").expect("a recipe");
        let small = [
            "model.backbone=resnet8",
            "model.width=1",
            "train.batch=8",
            "data.limit=20",
            "train.epochs=2",
            "data.size=8",
        ];
        recipe.set_all(small).expect("keys");
        let device = Device::cpu(Some(1)).expect("a processor");
        let mut trainer = Trainer::from_recipe(&recipe, &device).expect("a run");
        trainer.run(folder.path(), false, &AtomicBool::new(false), &mut |_| {}).expect("a run");
        let folders = [folder.path().to_owned(), folder.path().join("checkpoints")];
        let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("a folder").flatten());
        let read = files.filter(|file| file.path().is_file()).map(|file| {
            let bytes = std::fs::read(file.path()).expect("a file");
            (file.file_name().to_string_lossy().into_owned(), bytes)
        });
        read.collect()
    })
}

/// Times differ from run to run; the same seed is to give the same inputs.
fn without_times(bytes: Vec<u8>) -> Vec<u8> {
    let Ok(mut text) = String::from_utf8(bytes.clone()) else { return bytes };
    for key in ["\"seconds\":", "\"images_per_second\":"] {
        let parts: Vec<String> = text
            .split(key)
            .enumerate()
            .map(|(n, part)| {
                let number = if n == 0 { 0 } else { part.find([',', '}', '\n']).unwrap_or(part.len()) };
                if n == 0 { part.to_owned() } else { format!("{key}0.5{}", &part[number..]) }
            })
            .collect();
        text = parts.concat();
    }
    text.into_bytes()
}

fn of_run(ending: &str) -> Vec<Vec<u8>> {
    run().iter().filter(|(name, _)| name.ends_with(ending)).map(|(_, bytes)| bytes.clone()).collect()
}

pub(crate) fn tensors() -> Vec<Vec<u8>> {
    of_run(".safetensors")
}

pub(crate) fn manifests() -> Vec<Vec<u8>> {
    of_run("last.json")
}

pub(crate) fn metrics() -> Vec<Vec<u8>> {
    of_run("metrics.jsonl").into_iter().map(without_times).collect()
}

pub(crate) fn evaluations() -> Vec<Vec<u8>> {
    of_run("evaluation.json")
}

pub(crate) fn mats() -> Vec<Vec<u8>> {
    // Few images, so that a change hits what is said of them; compressed and not.
    let pixels: Vec<u8> = (0..32 * 32 * 3 * 2_usize).map(|at| at as u8).collect();
    let parts = [sets::matrix("X", &[32, 32, 3, 2], 2, &pixels), sets::matrix("y", &[2, 1], 2, &[1, 10])];
    let packed: Vec<Vec<u8>> = parts.iter().map(|part| sets::zlib_element(part)).collect();
    vec![sets::mat(&packed), sets::mat(&parts)]
}

pub(crate) fn tars() -> Vec<Vec<u8>> {
    let folder: Vec<(String, Vec<u8>)> = ["train", "val"]
        .iter()
        .flat_map(|split| {
            (0..3).map(move |i| (format!("{split}/{}/{i}.png", ["a", "b"][i % 2]), sets::png(0, i)))
        })
        .collect();
    vec![
        sets::tar("set", &folder),
        sets::tar(".", &sets::samples(0, 0..4)),
        sets::tar("x", &sets::mnist()),
        linked(&folder),
    ]
}

/// A folder with links of both kinds, members below one, a folder over a file, and no end.
fn linked(folder: &[(String, Vec<u8>)]) -> Vec<u8> {
    let whole = sets::tar("set", folder);
    let mut archive = tar::Builder::new(whole[..whole.len() - 1024].to_vec());
    let header = |kind: tar::EntryType, size: usize| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size as u64);
        header
    };
    let links = [
        (tar::EntryType::Symlink, "set/train/c", "a"),
        (tar::EntryType::Symlink, "set/train/b/up", "../a"),
        (tar::EntryType::Link, "set/train/b/9", "set/train/c/0.png"),
        (tar::EntryType::Symlink, "set/train/b/loop", "loop"),
    ];
    for (kind, name, to) in links {
        archive.append_link(&mut header(kind, 0), name, to).expect("a link");
    }
    let image = sets::png(0, 7);
    for name in ["set/train/c/7.png", "set/val/a/7.png", "set/val/a/7.png/8.png", "set/train/a"] {
        let mut header = header(tar::EntryType::Regular, image.len());
        archive.append_data(&mut header, name, &image[..]).expect("a member");
    }
    let whole = archive.into_inner().expect("an archive");
    whole[..whole.len() - 1024].to_vec()
}

pub(crate) fn recipes() -> Vec<Vec<u8>> {
    let built_in = builtin().iter().map(|part| part.text.as_bytes().to_vec());
    built_in.take(8).chain(of_run("recipe.toml")).collect()
}

pub(crate) fn suites() -> Vec<Vec<u8>> {
    mlaan::compare::builtin().iter().map(|(_, text)| text.as_bytes().to_vec()).collect()
}

/// Answers of a server that breaks off and then goes on; see [`super::targets::ranges`].
pub(crate) fn answers() -> Vec<Vec<u8>> {
    let size = FILE.len();
    let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nETag: \"a\"\r\n\r\n");
    let rest = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes 16-{}/{size}\r\nETag: \"a\"\r\n\r\n",
        size - 16,
        size - 1
    );
    let joined = |parts: &[&[u8]]| parts.concat();
    vec![
        joined(&[whole.as_bytes(), FILE]),
        joined(&[whole.as_bytes(), &FILE[..16], b"\0", rest.as_bytes(), &FILE[16..]]),
        joined(&[
            whole.as_bytes(),
            &FILE[..16],
            b"\0HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */40\r\nContent-Length: 0\r\n\r\n",
        ]),
        joined(&[
            whole.as_bytes(),
            &FILE[..16],
            b"\0HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n28\r\n",
            FILE,
            b"\r\n0\r\n\r\n",
        ]),
    ]
}
