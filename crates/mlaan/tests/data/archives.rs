//! SVHN's MATLAB files, images inside archives, and ImageNet's validation images: read whole, and damaged in many ways.

mod imagenet;
mod matlab;
use crate::python;
use crate::sets;

use std::fs;
use std::path::Path;

use crate::sets::{TEST, TRAIN, gz, matrix, pixel, png, put, samples, tar, zlib_element};
use mlaan::data::{Dataset, Known, OpenOptions, Splits, open};
use tempfile::TempDir;

type Files = Vec<(String, Vec<u8>)>;

fn opened(path: &Path) -> mlaan::Result<Splits> {
    // A limit allows classes without images.
    open(path.to_str().unwrap(), &OpenOptions { limit: Some(10_000), ..OpenOptions::default() })
}

#[track_caller]
fn fails(path: &Path, says: &[&str]) {
    match opened(path) {
        Ok(_) => panic!("{} opened", path.display()),
        Err(error) => {
            let error = error.to_string();
            assert!(says.iter().all(|part| error.contains(part)), "{says:?}: {error}");
        }
    }
}

/// Whether image `at` of a split is image `image` of the generator.
#[track_caller]
fn is(data: &dyn Dataset, at: usize, (split, image): (usize, usize), side: usize) {
    let mut scratch = Vec::new();
    let view = data.image(at, &mut scratch).unwrap();
    assert_eq!((view.height, view.width), (side, side));
    for (place, rgb) in view.rgb.chunks_exact(3).enumerate() {
        let wanted = [0, 1, 2].map(|c| pixel(split, image, (place / side, place % side), c));
        assert_eq!(rgb, wanted, "image {at}, pixel {place}");
    }
}

/// The files of an image folder of three classes below `outer`.
fn image_folder(outer: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![(format!("{outer}readme.txt"), b"hello".to_vec())];
    for (split, (name, images)) in [("train", 9), ("val", 6)].into_iter().enumerate() {
        // Not in the order of names.
        for i in (0..images).rev() {
            files.push((format!("{outer}{name}/c{}/{i:03}.png", i % 3), png(split, i)));
        }
        files.push((format!("{outer}{name}/c0/._000.png"), b"left behind".to_vec()));
    }
    files
}

#[test]
fn an_archive_of_an_image_folder_is_that_folder() {
    let root = TempDir::new().unwrap();
    sets::unpacked(&root.path().join("unpacked"), &image_folder(""));
    let folder = opened(&root.path().join("unpacked")).unwrap();
    for outer in ["", "./", "set/", "a/b/"] {
        let packed = tar(".", &image_folder(outer));
        put(root.path().join("set.tar"), &packed);
        let splits = opened(&root.path().join("set.tar")).unwrap();
        assert_eq!((splits.train.classes(), splits.train.len()), (folder.train.classes(), 9));
        for (a, b) in [(&splits.train, &folder.train), (&splits.test, &folder.test)] {
            for i in 0..a.len() {
                assert_eq!(a.label(i), b.label(i));
                assert_eq!(a.image(i, &mut Vec::new()).unwrap(), b.image(i, &mut Vec::new()).unwrap());
            }
        }
        // A compressed one keeps its own order.
        put(root.path().join("set.tar.gz"), &gz(&packed));
        let splits = opened(&root.path().join("set.tar.gz")).unwrap();
        assert_eq!((splits.train.len(), splits.test.len()), (9, 6));
        for i in 0..9 {
            is(&*splits.train, i, (0, 8 - i), 8);
            assert_eq!(splits.train.label(i), (8 - i) % 3);
        }
    }
    // What a download leaves: a folder with the archive alone.
    fs::create_dir(root.path().join("alone")).unwrap();
    fs::rename(root.path().join("set.tar.gz"), root.path().join("alone/set.tar.gz")).unwrap();
    assert_eq!(opened(&root.path().join("alone")).unwrap().train.len(), 9);
}

#[test]
fn long_names_are_read_in_both_ways() {
    let long = format!("{}/train/c0/{}.png", "o".repeat(120), "x".repeat(150));
    let files = [(long.clone(), png(0, 0)), (long.replace("train", "test"), png(1, 0))];
    let root = TempDir::new().unwrap();
    // GNU's way.
    put(root.path().join("gnu.tar"), &tar(".", &files));
    // POSIX's way.
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in &files {
        builder.append_pax_extensions([("path", name.as_bytes())]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_path("short").unwrap();
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        builder.append(&header, &bytes[..]).unwrap();
    }
    put(root.path().join("pax.tar"), &builder.into_inner().unwrap());
    for name in ["gnu.tar", "pax.tar"] {
        let splits = opened(&root.path().join(name)).unwrap();
        is(&*splits.train, 0, (0, 0), 8);
        is(&*splits.test, 0, (1, 0), 8);
    }
}

#[test]
fn archives_that_do_not_fit_are_explained() {
    let root = TempDir::new().unwrap();
    let at = |name: &str| root.path().join(name);
    let files = image_folder("");
    let only =
        |split: &str| files.iter().filter(|(name, _)| name.starts_with(split)).cloned().collect::<Vec<_>>();
    put(at("train.tar"), &tar(".", &only("train")));
    fails(&at("train.tar"), &["train.tar", "no class folders in `test/`, `val/`"]);
    put(at("val.tar"), &tar(".", &only("val")));
    fails(&at("val.tar"), &["val.tar", "none in `train/`"]);
    let more = [files.clone(), vec![("val/emu/1.png".into(), png(1, 0))]].concat();
    put(at("more.tar"), &tar(".", &more));
    fails(&at("more.tar"), &["more.tar", "`emu`", "must be trained"]);
    put(at("other.tar"), &tar(".", &[("a.txt".into(), vec![1])]));
    fails(&at("other.tar"), &["other.tar", "no known data set"]);
    let mut broken = files;
    let last = broken.len() - 2;
    broken[last].1 = b"no image".to_vec();
    put(at("broken.tar"), &tar(".", &broken));
    fails(&at("broken.tar"), &["broken.tar, val/c0/000.png", "not an image", "--skip-broken"]);
    put(at("broken.tgz"), &gz(&tar(".", &broken)));
    fails(&at("broken.tgz"), &["broken.tgz, val/c0/000.png", "not an image"]);
}

#[test]
fn damaged_archives_never_panic() {
    let root = TempDir::new().unwrap();
    let whole = tar(".", &image_folder("set/"));
    for (name, bytes) in [("set.tar", whole.clone()), ("set.tar.gz", gz(&whole))] {
        let path = root.path().join(name);
        // All but the empty blocks at the end.
        let content = if name == "set.tar" { bytes.len() - 1024 } else { bytes.len() };
        for cut in (0..content).step_by(content / 120) {
            fs::write(&path, &bytes[..cut]).unwrap();
            fails(&path, &[name]);
        }
        for at in (0..content).step_by(content / 400) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x15;
            fs::write(&path, &damaged).unwrap();
            let _ = opened(&path);
        }
    }
}

/// A tar header with this size and kind, and a checksum that is right.
fn header(name: &str, size: u64, kind: tar::EntryType) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

#[test]
fn wild_headers_and_bombs_are_bounded() {
    let root = TempDir::new().unwrap();
    let put_both = |bytes: &[u8]| {
        put(root.path().join("set.tar"), bytes);
        put(root.path().join("set.tar.gz"), &gz(bytes));
        [root.path().join("set.tar"), root.path().join("set.tar.gz")]
    };
    for size in [1 << 40, u64::MAX / 2, u64::MAX] {
        for kind in [tar::EntryType::Regular, tar::EntryType::GNULongName, tar::EntryType::XHeader] {
            let bytes = [header("train/a/1.png", size, kind), vec![0; 2048]].concat();
            for path in put_both(&bytes) {
                fails(&path, &["set.tar"]);
            }
        }
    }
    // 300 MiB of zeros in 300 KB.
    let bomb =
        gz(&[header("train/a/1.png", 300 << 20, tar::EntryType::Regular), vec![0; 300 << 20]].concat());
    let path = root.path().join("bomb.tgz");
    put(&path, &bomb);
    fails(&path, &["bomb.tgz", "200 times as long"]);
}

/// A folder of shards: two for training, one for testing.
fn webdataset(ending: &str) -> TempDir {
    let root = TempDir::new().unwrap();
    for (name, split, images) in [("train-00000", 0, 0..7), ("train-00001", 0, 7..11), ("val-00000", 1, 0..5)]
    {
        let bytes = tar("shard", &samples(split, images));
        let bytes = if ending == "tar" { bytes } else { gz(&bytes) };
        put(root.path().join(format!("{name}.{ending}")), &bytes);
    }
    root
}

#[test]
fn webdataset_shards_are_read() {
    for ending in ["tar", "tar.gz"] {
        let root = webdataset(ending);
        let splits = opened(root.path()).unwrap();
        assert_eq!((splits.train.len(), splits.test.len(), splits.format), (11, 5, "WebDataset"));
        assert_eq!(splits.train.classes(), ["0", "1", "2"]);
        for i in 0..11 {
            is(&*splits.train, i, (0, i), 8);
            assert_eq!(splits.train.label(i), i % 3);
        }
        is(&*splits.test, 4, (1, 4), 8);
        // A limit reads some of a shard.
        let options = OpenOptions { limit: Some(3), seed: 2, ..OpenOptions::default() };
        assert_eq!(open(root.path().to_str().unwrap(), &options).unwrap().train.len(), 3);
        put(root.path().join("classnames.txt"), b"cat\ndog\nemu\n");
        assert_eq!(opened(root.path()).unwrap().test.classes(), ["cat", "dog", "emu"]);
        // Shards in folders of their splits.
        for split in ["train", "val"] {
            fs::create_dir(root.path().join(split)).unwrap();
        }
        for (from, to) in [("train-00000", "train/0"), ("train-00001", "train/1"), ("val-00000", "val/0")] {
            let at = |name: &str| root.path().join(format!("{name}.{ending}"));
            fs::rename(at(from), at(to)).unwrap();
        }
        let splits = opened(root.path()).unwrap();
        assert_eq!((splits.train.len(), splits.test.len()), (11, 5));
    }
}

#[test]
fn shards_that_do_not_fit_are_explained() {
    let root = webdataset("tar");
    let shard = root.path().join("train-00001.tar");
    let with = |change: &dyn Fn(&mut Files)| {
        let mut files = samples(0, 7..11);
        change(&mut files);
        put(&shard, &tar("shard", &files));
    };
    with(&|files| drop(files.remove(4)));
    fails(root.path(), &["train-00001.tar, sample shard/000008", "no label (`.cls`"]);
    with(&|files| drop(files.remove(5)));
    fails(root.path(), &["train-00001.tar, sample shard/000008", "no image"]);
    with(&|files| files[4].1 = b"cat".to_vec());
    fails(
        root.path(),
        &[
            "train-00001.tar, shard/000008.png",
            "`cat`, not a whole number",
            "train-00000.tar, shard/000000.png",
        ],
    );
    with(&|files| files[4].1 = vec![b'1'; 1000]);
    fails(root.path(), &["000008.cls", "1000 bytes"]);
    with(&|files| files[4].1 = b"-1".to_vec());
    fails(root.path(), &["000008.png", "label -1 is out of range"]);
    with(&|files| files[4].1 = b"2000000000".to_vec());
    fails(root.path(), &["label 2000000000", "100000"]);
    with(&|_| {});
    put(root.path().join("classes.txt"), b"cat\ndog\n");
    fails(root.path(), &["000002.png", "label 2 is out of range"]);
    put(root.path().join("classes.txt"), b"cat\n\ndog\n");
    fails(root.path(), &["classes.txt, line 2", "without a name"]);
    fs::remove_file(root.path().join("classes.txt")).unwrap();
    let whole = fs::read(&shard).unwrap();
    for cut in (0..whole.len() - 1024).step_by(whole.len() / 40) {
        fs::write(&shard, &whole[..cut]).unwrap();
        // Between two members it may be that only the end is missing, which is said.
        match opened(root.path()) {
            Ok(splits) => assert!(
                splits.notes.remarks.iter().any(|r| r.contains("train-00001.tar has no mark at its end")),
                "{:?}",
                splits.notes
            ),
            Err(error) => assert!(error.to_string().contains("train-00001.tar"), "{error}"),
        }
    }
    fs::write(&shard, whole).unwrap();
    fs::remove_file(root.path().join("val-00000.tar")).unwrap();
    fails(root.path(), &["no `test-*.tar`"]);
}

const SYNSETS: [&str; 3] = ["n01440764", "n02102040", "n03000684"];
