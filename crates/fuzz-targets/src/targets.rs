//! The targets. Files lie in one folder per process: most readers take paths, and a small file in memory costs little.

#![allow(clippy::expect_used, reason = "without a place for files there is nothing to test")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use mlaan::compare::Suite;
use mlaan::data::download::{Patience, Wanted, download};
use mlaan::data::{OpenOptions, Orientation, open, read_image};
use mlaan::import::StateDict;
use mlaan::pickle::{Item, Limits, Pickle};
use mlaan::recipe::Recipe;
use mlaan::report::Material;
use mlaan::train::{TensorFile, checkpoint, metrics};
use sha2::{Digest, Sha256};

/// A folder of the target's own.
fn folder(target: &str) -> PathBuf {
    static ROOT: OnceLock<tempfile::TempDir> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        made.expect("a temporary folder")
    });
    let folder = root.path().join(target);
    fs::create_dir_all(&folder).expect("a temporary folder");
    folder
}

/// Writes the input under these names.
fn put(folder: &Path, names: &[&str], data: &[u8]) {
    for name in names {
        fs::write(folder.join(name), data).expect("room for an input");
    }
}

/// Opens a data set, and looks at the ends of both splits.
fn data_set(path: &Path) {
    let options = OpenOptions { threads: 1, skip_broken: true, ..OpenOptions::default() };
    let Some(Ok(splits)) = path.to_str().map(|path| open(path, &options)) else {
        return;
    };
    for split in [splits.train, splits.test] {
        assert!(!split.is_empty() && split.label(0) < split.classes().len());
        let _ = split.image(split.len() - 1, &mut Vec::new());
    }
}

/// A parquet set of one file for both splits.
pub fn parquet(data: &[u8]) {
    let folder = folder("parquet");
    put(&folder, &["train.parquet", "test.parquet"], data);
    data_set(&folder);
}

/// An image file.
pub fn image(data: &[u8]) {
    let folder = folder("image");
    put(&folder, &["image"], data);
    for short_side in [0, 7] {
        if let Ok(image) = read_image(&folder.join("image"), short_side, Orientation::Exif) {
            assert_eq!(image.rgb.len(), image.height * image.width * 3);
        }
    }
}

/// A pickle, of which everything is looked at that can be reached in a few steps.
pub fn pickle(data: &[u8]) {
    if let Ok(pickle) = Pickle::parse(data, Limits::default()) {
        assert!(pickle.length() <= data.len());
        walk(pickle.root(), 4);
    }
}

fn walk(item: Item<'_, '_>, depth: usize) {
    /// Elements of each list that are looked at.
    const MOST: usize = 8;
    let _ = (item.describe(), item.integer(), item.text(), item.bytes(), item.tensor(), item.callee());
    let _ = (item.integers(), item.names(MOST), item.get("data").map(Item::describe));
    if let Ok(array) = item.array() {
        let _ = (array.unsigned_bytes(), array.integers(), array.floats());
    }
    if depth == 0 {
        return;
    }
    let entries = item.entries().unwrap_or_default();
    let within = item.sequence().into_iter().flatten().take(MOST);
    let others = [item.state(), item.persistent()].into_iter().flatten();
    let more = item.arguments().unwrap_or_default().into_iter().take(MOST);
    let pairs = entries.into_iter().take(MOST).flat_map(|(key, value)| [key, value]);
    within.chain(others).chain(more).chain(pairs).for_each(|item| walk(item, depth - 1));
}

/// Reads all tensors of a state dict.
fn state_dict(file: &Path) {
    if let Ok(mut dict) = StateDict::open(file) {
        let names: Vec<String> = dict.tensors().map(|(name, _)| name.to_owned()).collect();
        for name in names {
            let _ = dict.read(&name);
        }
    }
}

/// What `torch.save` writes.
pub fn torch(data: &[u8]) {
    let folder = folder("torch");
    put(&folder, &["net.pth"], data);
    state_dict(&folder.join("net.pth"));
}

/// A file of tensors.
pub fn tensors(data: &[u8]) {
    let folder = folder("tensors");
    put(&folder, &["net.safetensors"], data);
    let file = folder.join("net.safetensors");
    state_dict(&file);
    if let Ok(tensors) = TensorFile::open(&file) {
        let names: Vec<String> = tensors.names().map(Into::into).collect();
        for name in names {
            let shape = tensors.shape(&name).unwrap_or_default().to_vec();
            let _ = tensors.read(&name, &shape);
        }
    }
}

/// A checkpoint's manifest.
pub fn manifest(data: &[u8]) {
    let folder = folder("manifest");
    put(&folder, &["last.json"], data);
    let _ = checkpoint::load(&folder);
}

/// SVHN's MATLAB files.
pub fn mat(data: &[u8]) {
    let folder = folder("mat");
    put(&folder, &["train_32x32.mat", "test_32x32.mat"], data);
    data_set(&folder);
}

/// An archive of a set, and the shards of one.
pub fn tar(data: &[u8]) {
    let folder = folder("tar");
    put(&folder, &["set.tar", "train-0.tar", "test-0.tar"], data);
    data_set(&folder.join("set.tar"));
    data_set(&folder);
}

/// A run's metrics, and the page that is made of them.
pub fn report(data: &[u8]) {
    let folder = folder("report");
    put(&folder, &["metrics.jsonl"], data);
    let _ = metrics::read(&folder);
    if let Ok(material) = Material::gather(&[folder]) {
        let _ = material.page("title", "today");
    }
}

/// What a run's network was found to be worth, and the page that is made of it.
pub fn evaluation(data: &[u8]) {
    let folder = folder("evaluation");
    put(&folder, &["metrics.jsonl"], b"{\"event\":\"resume\",\"epoch\":0}\n");
    put(&folder, &["evaluation.json"], data);
    if let Ok(material) = Material::gather(&[folder]) {
        let _ = material.page("title", "today");
    }
}

/// A recipe.
pub fn recipe(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(recipe) = Recipe::parse(text, "input") {
        let _ = (recipe.validate(), recipe.to_toml());
    }
}

/// A suite.
pub fn suite(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(suite) = Suite::parse(text, "input", "input", &folder("suite")) {
        let _ = suite.table(&[]);
    }
}

/// What the server of [`ranges`] answers, split by zeros: one after the other, and round again.
static ANSWERS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Bytes of the file that [`ranges`] fetches.
pub(crate) const FILE: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz....";

/// Answers to the requests of a download.
pub fn ranges(data: &[u8]) {
    static SERVER: OnceLock<String> = OnceLock::new();
    let url = SERVER.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/file", listener.local_addr().expect("an address"));
        std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| answer(&stream)));
        url
    });
    *ANSWERS.lock().unwrap_or_else(PoisonError::into_inner) =
        data.split(|byte| *byte == 0).rev().map(Into::into).collect();
    let folder = folder("ranges");
    let _ = fs::remove_dir_all(&folder);
    let second = Duration::from_secs(1);
    let (connect, stall, window) = (second, second, second);
    let patience = Patience { connect, stall, tries: 2, pause: Duration::ZERO, least_rate: 1, window };
    let sha256 = Sha256::digest(FILE).iter().map(|byte| format!("{byte:02x}")).collect();
    let wanted = Wanted { name: "file".into(), size: FILE.len() as u64, sha256, urls: vec![url.clone()] };
    if download(&[wanted], &folder, &patience, &mut |_| ()).is_ok() {
        assert_eq!(fs::read(folder.join("file")).ok().as_deref(), Some(FILE));
    }
}

fn answer(stream: &TcpStream) {
    let mut lines = BufReader::new(stream).lines();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    let next = answers.pop().unwrap_or_default();
    let mut stream = stream;
    // Who has seen enough closes.
    let _ = stream.write_all(&next);
}
