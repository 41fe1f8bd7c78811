//! An archive gives what GNU tar leaves of it: random archives with everything in them that a member can be, against the folder
//! that they unpack to.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use crate::sets::gz;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use mlaan::data::{OpenOptions, Splits, open};
use tar::{EntryType, Header};
use tempfile::TempDir;

/// Archives that are compared.
const ARCHIVES: u64 = 120;

/// Numbers that a seed gives (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % n
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

/// An archive in the making, block by block: no library writes what some programs do.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    /// What was written, for a message.
    log: Vec<String>,
}

impl Archive {
    fn member(&mut self, kind: u8, name: &str, to: &str, content: &[u8]) {
        self.log.push(format!("{} {name} {to}", kind as char));
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::new(kind));
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..name.len()].copy_from_slice(name.as_bytes());
        gnu.linkname[..to.len()].copy_from_slice(to.as_bytes());
        if kind == b'S' {
            // One part, and a hole behind it.
            let number = |n: usize| format!("{n:011o}\0");
            gnu.sparse[0].offset.copy_from_slice(number(0).as_bytes());
            gnu.sparse[0].numbytes.copy_from_slice(number(content.len()).as_bytes());
            gnu.realsize.copy_from_slice(number(content.len() + 3000).as_bytes());
        }
        header.set_cksum();
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
    }

    /// A pax header for the next member.
    fn pax(&mut self, key: &str, value: &str) {
        let rest = format!(" {key}={value}\n");
        let length = (1..).find(|n| n.to_string().len() + rest.len() == *n).unwrap();
        self.member(b'x', "PaxHeaders/x", "", format!("{length}{rest}").as_bytes());
    }

    fn picture(&mut self, kind: u8, name: &str) {
        let n = self.log.len();
        let image = RgbImage::from_pixel(2, 2, Rgb([n as u8, (n >> 8) as u8, 7]));
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::from(image).write_to(&mut bytes, ImageFormat::Png).unwrap();
        self.member(kind, name, "", &bytes.into_inner());
    }
}

const NAMES: [&str; 9] = ["0.png", "1.png", "2.png", "3", "4.jpg", "sub/5.png", "sub", "note.txt", "6.heic"];
const LINKED: [&str; 8] = ["0.png", "1.png", "./3", "sub/5.png", "sub", "up.png", "gone.png", "7.png"];
/// Tar makes links that lead up or out last, and where a file took the place of one it makes the link or not, as the file system
/// numbers files: these have names of their own.
const UP: [&str; 6] = ["../dog/0.png", "../cat/3", "../wolf/1.png", "/none/0.png", "../../../up.png", ".."];

/// The path of something in a set; classes of the test split are those of training.
fn path(random: &mut Random) -> String {
    let prefix = random.of(&["", "", "", "./", "/"]);
    let class = match random.below(3) {
        0 => format!("test/{}", random.of(&["cat", "dog"])),
        _ => format!("train/{}", random.of(&["cat", "dog", "wolf"])),
    };
    let strange = if random.below(25) == 0 { random.of(&["/../dog", "//", "/."]) } else { "" };
    format!("{prefix}set/{class}{strange}/{}", random.of(&NAMES))
}

fn change(archive: &mut Archive, random: &mut Random) {
    let name = path(random);
    let in_training = name.contains("train/");
    match random.below(12) {
        0..3 => archive.picture(b'0', &name),
        3 => archive.picture(b'S', &name),
        4 => archive.member(b'5', &name, "", b""),
        5 => {
            let to = path(random);
            archive.member(b'1', &name, &to, b"");
        }
        6 if in_training => archive.member(b'2', &name, random.of(&LINKED), b""),
        7 if in_training => {
            let folder = name.rsplit_once('/').unwrap().0.to_owned();
            let name = random.of(&["up.png", "up"]);
            match random.below(4) {
                0 => archive.picture(b'0', &format!("{folder}/up/8.png")),
                _ => archive.member(b'2', &format!("{folder}/{name}"), random.of(&UP), b""),
            }
        }
        8 => {
            // A class that is a link to another, or a folder again.
            let class = format!("set/train/{}", random.of(&["wolf", "wolf", "dog"]));
            match random.below(4) {
                0 => archive.member(b'5', &class, "", b""),
                1 => archive.picture(b'0', &class),
                2 => archive.member(b'2', &class, random.of(&["cat", "./cat", "fox", "none"]), b""),
                _ => archive.member(b'2', "set/train/fox", "../train/dog", b""),
            }
        }
        9 => archive.member(random.of(&["6", "Z", "V", "7"]).as_bytes()[0], &name, "", b""),
        10 => {
            let long = format!("{name}{}.png", "n".repeat(120));
            archive.pax("path", &long);
            archive.picture(b'0', "short");
        }
        _ => {
            let long = format!("{name}{}.png", "m".repeat(120));
            archive.member(b'L', "././@LongLink", "", format!("{long}\0").as_bytes());
            archive.picture(b'0', "cut");
        }
    }
}

fn archive(seed: u64) -> Archive {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut archive = Archive::default();
    let first = random.below(4);
    for number in 0..4 + random.below(14) {
        // The set itself begins somewhere among it.
        if number == first {
            for class in ["train/cat", "train/dog", "test/cat", "test/dog"] {
                (7..9).for_each(|i| archive.picture(b'0', &format!("set/{class}/{i}.png")));
            }
        }
        change(&mut archive, &mut random);
    }
    archive
}

fn opened(path: &Path) -> mlaan::Result<Splits> {
    // A link to nothing is a broken image on a disk, and none in an archive.
    let options = OpenOptions { threads: 1, skip_broken: true, ..OpenOptions::default() };
    open(path.to_str().unwrap(), &options)
}

/// Class and first pixel of all images of both splits.
fn seen(splits: &Splits) -> Vec<(usize, String, Vec<u8>)> {
    let mut all = Vec::new();
    for (s, split) in [&splits.train, &splits.test].into_iter().enumerate() {
        for i in 0..split.len() {
            let class = split.classes()[split.label(i)].clone();
            all.push((s, class, split.image(i, &mut Vec::new()).unwrap().rgb[..3].to_vec()));
        }
    }
    all.sort();
    all
}

fn gnu_tar() -> bool {
    let version = Command::new("tar").arg("--version").output();
    version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("GNU tar"))
}

#[test]
fn random_archives_give_what_they_unpack_to() {
    if !gnu_tar() {
        eprintln!("not run: there is no GNU tar to compare with");
        return;
    }
    let (mut read, mut lost) = (0, 0);
    for seed in 0..ARCHIVES {
        let root = TempDir::new().unwrap();
        let mut archive = archive(seed);
        // Some have no end.
        if seed % 4 > 0 {
            archive.bytes.extend([0; 1024]);
        }
        let packed = root.path().join(if seed % 2 == 0 { "set.tar" } else { "set.tar.gz" });
        fs::write(&packed, if seed % 2 == 0 { archive.bytes.clone() } else { gz(&archive.bytes) }).unwrap();
        let folder = root.path().join("unpacked");
        fs::create_dir(&folder).unwrap();
        let tar = Command::new("tar").arg("-C").arg(&folder).arg("-xf").arg(&packed).output().unwrap();
        let case =
            || format!("seed {seed}:\n{}\n{}", archive.log.join("\n"), String::from_utf8_lossy(&tar.stderr));
        match (opened(&folder.join("set")), opened(&packed)) {
            (Ok(ours), Ok(theirs)) => {
                let (ours, images) = (seen(&ours), seen(&theirs));
                assert!(ours == images, "{}\n{ours:?}\n{images:?}", case());
                // What tar says it leaves out is counted here too.
                let counted = theirs.notes.skipped.iter().map(|s| s.count).sum::<usize>();
                assert!(tar.status.success() || counted > 0, "{}", case());
                (read, lost) = (read + 1, lost + usize::from(!tar.status.success()));
            }
            (Err(_), Err(_)) => {}
            (ours, theirs) => panic!("{}\n{:?}\n{:?}", case(), ours.err(), theirs.err()),
        }
    }
    assert!(read > ARCHIVES as usize / 2 && lost > 20, "{read} read, of {lost} tar leaves something out");
}
