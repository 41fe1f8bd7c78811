//! An archive is the folder that it unpacks to: links, files with holes, later members, what leads out of it.

use crate::sets;

use std::path::Path;
use std::process::Command;

use crate::sets::{gz, png, put};
use mlaan::data::{OpenOptions, Splits, open};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

fn opened(path: &Path) -> Splits {
    open(path.to_str().unwrap(), &OpenOptions::default()).unwrap()
}

/// Whether both hold the same images, in the order of their classes.
#[track_caller]
fn same(a: &Splits, b: &Splits) {
    assert_eq!(a.train.classes(), b.train.classes());
    for (a, b) in [(&a.train, &b.train), (&a.test, &b.test)] {
        assert_eq!(a.len(), b.len());
        let all = |data: &dyn mlaan::data::Dataset| {
            let one = |i| (data.label(i), data.image(i, &mut Vec::new()).unwrap().rgb.to_vec());
            let mut all: Vec<_> = (0..data.len()).map(one).collect();
            all.sort();
            all
        };
        assert!(all(&**a) == all(&**b));
    }
}

/// An archive in the making.
struct Archive(Builder<Vec<u8>>);

impl Archive {
    fn new() -> Self {
        let mut archive = Archive(Builder::new(Vec::new()));
        for (s, split) in ["train", "test"].into_iter().enumerate() {
            for (c, class) in ["cat", "dog"].into_iter().enumerate() {
                for i in 0..2 {
                    archive.file(&format!("{split}/{class}/{i}.png"), &png(s, 2 * c + i));
                }
            }
        }
        archive
    }

    fn file(&mut self, name: &str, bytes: &[u8]) {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        self.0.append_data(&mut header, name, bytes).unwrap();
    }

    fn link(&mut self, kind: EntryType, name: &str, to: &str) {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        self.0.append_link(&mut header, name, to).unwrap();
    }

    /// The archive, plain and compressed.
    fn put(self, root: &TempDir) -> [std::path::PathBuf; 2] {
        let bytes = self.0.into_inner().unwrap();
        let paths = [root.path().join("set.tar"), root.path().join("set.tar.gz")];
        put(&paths[0], &bytes);
        put(&paths[1], &gz(&bytes));
        paths
    }
}

#[test]
fn links_give_what_they_lead_to() {
    let root = TempDir::new().unwrap();
    let mut archive = Archive::new();
    archive.link(EntryType::Link, "train/dog/hard.png", "train/dog/0.png");
    archive.link(EntryType::Symlink, "train/dog/soft.png", "../cat/1.png");
    archive.link(EntryType::Symlink, "train/dog/again.png", "hard.png");
    for split in ["train", "test"] {
        archive.link(EntryType::Symlink, &format!("{split}/wolf"), "dog");
    }
    archive.file(&format!("train/cat/{}.png", "n".repeat(150)), &png(0, 9));
    archive.link(EntryType::Symlink, "train/cat/long.png", &format!("{}.png", "n".repeat(150)));
    for path in archive.put(&root) {
        let splits = opened(&path);
        assert_eq!(splits.train.classes(), ["cat", "dog", "wolf"]);
        let mut counts = [0; 3];
        (0..splits.train.len()).for_each(|i| counts[splits.train.label(i)] += 1);
        assert_eq!((counts, splits.test.len()), ([4, 5, 5], 6));
        assert!(splits.notes.is_empty(), "{:?}", splits.notes);
    }
    // In the order of names where any order will do.
    let plain = opened(&root.path().join("set.tar"));
    let red = |i: usize| plain.train.image(i, &mut Vec::new()).unwrap().rgb[0];
    let wanted = [2, 3, 2, 2, 1].map(|image| sets::pixel(0, image, (0, 0), 0));
    assert_eq!([4, 5, 6, 7, 8].map(red), wanted, "0, 1, again, hard, soft");
}

#[test]
fn later_members_replace_earlier_ones() {
    let root = TempDir::new().unwrap();
    let mut archive = Archive::new();
    // Linked to before: the link keeps what was there then.
    archive.link(EntryType::Link, "train/cat/kept.png", "train/cat/0.png");
    archive.file("./train/cat/0.png", &png(0, 9));
    for path in archive.put(&root) {
        let splits = opened(&path);
        assert_eq!((splits.train.len(), splits.test.len()), (5, 4));
        let reds: Vec<u8> = (0..5).map(|i| splits.train.image(i, &mut Vec::new()).unwrap().rgb[0]).collect();
        let red = |image| sets::pixel(0, image, (0, 0), 0);
        assert!(reds.contains(&red(9)) && reds.contains(&red(0)), "{reds:?}");
        let skipped = &splits.notes.skipped;
        assert_eq!((skipped.len(), skipped[0].count), (1, 1));
        assert!(skipped[0].reason.contains("replaced") && skipped[0].example.ends_with("train/cat/0.png"));
    }
}

#[test]
fn links_that_lead_nowhere_are_counted() {
    let root = TempDir::new().unwrap();
    let mut archive = Archive::new();
    archive.link(EntryType::Symlink, "train/dog/absolute.png", "/etc/passwd");
    archive.link(EntryType::Symlink, "train/dog/out.png", "../../../x.png");
    archive.link(EntryType::Symlink, "train/dog/gone.png", "gone/x.png");
    archive.link(EntryType::Link, "train/dog/gone2.png", "train/dog/none.png");
    archive.link(EntryType::Symlink, "train/dog/a.png", "b.png");
    archive.link(EntryType::Symlink, "train/dog/b.png", "a.png");
    archive.link(EntryType::Symlink, "train/dog/up", "../..");
    let mut pipe = Header::new_gnu();
    pipe.set_entry_type(EntryType::Fifo);
    pipe.set_size(0);
    archive.0.append_data(&mut pipe, "train/dog/pipe.png", &[][..]).unwrap();
    for path in archive.put(&root) {
        let splits = opened(&path);
        assert_eq!((splits.train.len(), splits.test.len()), (4, 4));
        let mut counts: Vec<_> = splits.notes.skipped.iter().map(|s| (s.reason, s.count)).collect();
        counts.sort_unstable();
        let wanted = [
            ("a link that leads back to where it lies", 3),
            ("a link to an absolute path, which an archive does not hold", 1),
            ("a link to what is not in the archive", 2),
            ("a path that leads out of the archive", 1),
            ("neither a file nor a folder", 1),
        ];
        assert_eq!(counts, wanted);
    }
}

#[cfg(unix)]
#[test]
fn gnu_tar_packs_what_is_read() {
    use std::os::unix::fs::symlink;
    if Command::new("tar").arg("--version").output().is_ok_and(|o| o.stdout.starts_with(b"tar (GNU tar)")) {
        let root = TempDir::new().unwrap();
        let set = root.path().join("set");
        for (s, split) in ["train", "test"].into_iter().enumerate() {
            for (c, class) in ["cat", "dog"].into_iter().enumerate() {
                put(set.join(split).join(class).join("0.png"), &png(s, c));
            }
            symlink("dog", set.join(split).join("wolf")).unwrap();
        }
        std::fs::hard_link(set.join("train/cat/0.png"), set.join("train/cat/1.png")).unwrap();
        // Holes before, between and behind, more than a header has room for.
        let file = std::fs::File::create(set.join("train/dog/holes.png")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &png(0, 7), 0).unwrap();
        for at in (0..100).map(|i| (64 << 10) + i * 8192) {
            std::os::unix::fs::FileExt::write_all_at(&file, &[1], at as u64).unwrap();
        }
        file.set_len(1 << 20).unwrap();
        let folder = opened(&set);
        assert_eq!((folder.train.len(), folder.test.len()), (6, 3));
        let sparse = [&["-S", "--format=gnu"][..], &["-S", "--format=pax", "--sparse-version=1.0"]];
        let older = [
            &["-S", "--format=pax", "--sparse-version=0.1"][..],
            &["-S", "--format=pax", "--sparse-version=0.0"],
            &["--format=v7"],
        ];
        for flags in sparse.into_iter().chain(older) {
            for (name, compress) in [("set.tar", "-cf"), ("set.tar.gz", "-czf")] {
                let path = root.path().join(name);
                let packed = Command::new("tar")
                    .arg("-C")
                    .arg(root.path())
                    .args(flags)
                    .arg(compress)
                    .arg(&path)
                    .arg("set")
                    .output()
                    .unwrap();
                assert!(packed.status.success(), "{packed:?}");
                same(&opened(&path), &folder);
            }
        }
    }
}

#[test]
fn webdataset_shards_may_have_links() {
    let root = TempDir::new().unwrap();
    for (split, name) in ["train-0.tar", "test-0.tar"].into_iter().enumerate() {
        let mut archive = Archive(Builder::new(Vec::new()));
        archive.file("a.png", &png(split, 0));
        archive.file("a.cls", b"0");
        archive.link(EntryType::Link, "b.cls", "a.cls");
        archive.file("b.png", &png(split, 1));
        archive.file("c.cls", b"1");
        archive.link(EntryType::Symlink, "c.png", "./b.png");
        put(root.path().join(name), &archive.0.into_inner().unwrap());
    }
    let splits = opened(root.path());
    assert_eq!((0..3).map(|i| splits.train.label(i)).collect::<Vec<_>>(), [0, 0, 1]);
    let red = |i: usize| splits.train.image(i, &mut Vec::new()).unwrap().rgb[0];
    assert_eq!([0, 1, 2].map(red), [0, 1, 1].map(|image| sets::pixel(0, image, (0, 0), 0)));
}

/// What tar unpacks of members that lie across each other, wherever tests run.
#[test]
fn members_are_written_as_tar_writes_them() {
    let root = TempDir::new().unwrap();
    let mut archive = Archive::new();
    archive.link(EntryType::Symlink, "train/wolf", "dog");
    archive.link(EntryType::Symlink, "test/wolf", "dog");
    // Lies in `train/dog`, and so is an image of both.
    archive.file("train/wolf/new.png", &png(0, 7));
    // The links' own names say nothing of what they lead to.
    archive.file("train/cat/content", &png(0, 8));
    archive.link(EntryType::Symlink, "train/cat/soft", "0.png");
    archive.link(EntryType::Link, "train/cat/hard", "train/cat/1.png");
    archive.link(EntryType::Symlink, "train/cat/up", "../dog");
    archive.file("train/cat/up/lost.png", &png(0, 9));
    archive.link(EntryType::Link, "train/cat/early.png", "train/cat/late.png");
    archive.file("train/cat/late.png", &png(0, 6));
    archive.file("train/dog", &png(0, 9));
    archive.file("train/dog/0.png/below.png", &png(0, 9));
    for path in archive.put(&root) {
        let splits = opened(&path);
        let mut counts = [0; 3];
        (0..splits.train.len()).for_each(|i| counts[splits.train.label(i)] += 1);
        // `up` leads to another class, whose images are not this one's.
        assert_eq!((counts, splits.test.len()), ([6, 3, 3], 6), "{:?}", splits.notes);
        let mut skipped: Vec<_> = splits
            .notes
            .skipped
            .iter()
            .map(|s| (s.example.rsplit_once(", ").unwrap().1.to_owned(), s.count))
            .collect();
        skipped.sort();
        let wanted = ["train/cat/early.png", "train/cat/up", "train/cat/up/lost.png", "train/dog"];
        let counts = [1, 1, 2, 1];
        assert_eq!(skipped, wanted.map(String::from).into_iter().zip(counts).collect::<Vec<_>>());
    }
}

#[test]
fn archives_without_an_end_or_with_more_behind_it_say_so() {
    let root = TempDir::new().unwrap();
    let whole = Archive::new().0.into_inner().unwrap();
    let members = &whole[..whole.len() - 1024];
    let joined = [&whole[..], &whole].concat();
    for (bytes, says) in [(members, "has no mark at its end"), (&joined, "more lies behind the end of")] {
        let path = root.path().join("set.tar");
        put(&path, bytes);
        let splits = opened(&path);
        assert_eq!((splits.train.len(), splits.test.len()), (4, 4));
        let remarks = &splits.notes.remarks;
        assert!(remarks.len() == 1 && remarks[0].contains(says), "{remarks:?}");
        // In the middle of a member it is cut.
        put(&path, &bytes[..members.len() - 100]);
        assert!(open(path.to_str().unwrap(), &OpenOptions::default()).is_err());
    }
}
