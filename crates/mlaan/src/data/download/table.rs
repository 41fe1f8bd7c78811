//! What can be fetched: files, sizes, digests and servers, in one table.
//!
//! Sizes and SHA-256 are those that TensorFlow Datasets publishes (`url_checksums`). A server counts only if it holds
//! the same bytes, so a wrong entry costs time, never a wrong set.

use super::Wanted;

/// A data set that can be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    files: &'static [File],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct File {
    name: &'static str,
    size: u64,
    sha256: &'static str,
    /// The official one first.
    urls: &'static [&'static str],
}

/// What answers with the Internet Archive's copy of a page, if it has one.
const ARCHIVE: &str = "https://web.archive.org/web/2024id_/";

/// The sets that [`super::download`] knows.
pub const PUBLISHED: &[Published] = &[
    Published {
        name: "cifar10",
        title: "CIFAR-10: 60,000 images of 32x32 pixels, 10 classes",
        files: &[File {
            name: "cifar-10-binary.tar.gz",
            size: 170_052_171,
            sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            urls: &[
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
                "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
            ],
        }],
    },
    Published {
        name: "cifar100",
        title: "CIFAR-100: 60,000 images of 32x32 pixels, 100 classes",
        files: &[File {
            name: "cifar-100-binary.tar.gz",
            size: 168_513_733,
            sha256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            urls: &[
                "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
                "https://cave.cs.toronto.edu/kriz/cifar-100-binary.tar.gz",
            ],
        }],
    },
    Published {
        name: "svhn",
        title: "SVHN, cropped: 99,289 house-number digits of 32x32 pixels, 10 classes",
        files: &[
            File {
                name: "train_32x32.mat",
                size: 182_040_794,
                sha256: "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
                urls: &["http://ufldl.stanford.edu/housenumbers/train_32x32.mat"],
            },
            File {
                name: "test_32x32.mat",
                size: 64_275_384,
                sha256: "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
                urls: &["http://ufldl.stanford.edu/housenumbers/test_32x32.mat"],
            },
        ],
    },
    Published {
        name: "stl10",
        title: "STL-10: 13,000 labeled images of 96x96 pixels, 10 classes (and 100,000 without labels)",
        files: &[File {
            name: "stl10_binary.tar.gz",
            size: 2_640_397_119,
            sha256: "f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
            urls: &[
                "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
                "https://cs.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
            ],
        }],
    },
];

impl Published {
    /// The set of that name.
    pub fn named(name: &str) -> Option<&'static Published> {
        PUBLISHED.iter().find(|set| set.name == name)
    }

    /// Its files. With `mirror`, the address of a folder, that is asked before the servers of the table.
    pub fn files(&self, mirror: Option<&str>) -> Vec<Wanted> {
        let wanted = |file: &File| {
            let own = mirror.map(|m| format!("{}/{}", m.trim_end_matches('/'), file.name));
            let known = file.urls.iter().map(|url| (*url).to_owned());
            let archived = file.urls.first().map(|url| format!("{ARCHIVE}{url}"));
            Wanted {
                name: file.name.into(),
                size: file.size,
                sha256: file.sha256.into(),
                urls: own.into_iter().chain(known).chain(archived).collect(),
            }
        };
        self.files.iter().map(wanted).collect()
    }

    /// Bytes of all its files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_can_be_used() {
        for set in PUBLISHED {
            assert_eq!(Published::named(set.name), Some(set));
            for file in set.files(Some("http://here/sets/")) {
                assert_eq!(file.urls[0], format!("http://here/sets/{}", file.name));
                assert!(
                    file.urls.len() >= 3 && file.urls.iter().all(|u| u.ends_with(&file.name)),
                    "{file:?}"
                );
                let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
                assert!(file.sha256.len() == 64 && file.sha256.bytes().all(hex), "{file:?}");
            }
        }
        assert_eq!(Published::named("mnist"), None);
        assert_eq!(Published::named("svhn").unwrap().size(), 246_316_178);
    }
}
