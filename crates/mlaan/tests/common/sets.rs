//! Small valid sets in the forms of the literature, made here.
//!
//! Image `i` of a split is [`pixel`] at every place, and its label is `i % classes`.

#![allow(clippy::unwrap_used)] // In helpers of tests a failure is a failed test.
#![allow(dead_code, reason = "no test uses all of it")]

use std::fs;
use std::io::Write;
use std::path::Path;

/// Training and test images of every set.
pub const TRAIN: usize = 25;
/// See [`TRAIN`].
pub const TEST: usize = 12;

/// Channel `c` of image `image` of split `split` (0 training, 1 test) at row `y`, column `x`.
pub fn pixel(split: usize, image: usize, (y, x): (usize, usize), c: usize) -> u8 {
    (split * 101 + image * 37 + y * 7 + x * 13 + c * 71) as u8
}

/// Puts a file where it belongs.
pub fn put(path: impl AsRef<Path>, bytes: &[u8]) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Pixels channel by channel, row by row.
pub fn planes(split: usize, image: usize, side: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for c in 0..3 {
        for at in 0..side * side {
            bytes.push(pixel(split, image, (at / side, at % side), c));
        }
    }
    bytes
}

/// Name and bytes of every file of CIFAR-10's binary version.
pub fn cifar10_binary() -> Vec<(String, Vec<u8>)> {
    let records = |split: usize, images: std::ops::Range<usize>| {
        images.flat_map(|i| [vec![(i % 10) as u8], planes(split, i, 32)].concat()).collect::<Vec<u8>>()
    };
    let each = TRAIN / 5;
    let mut files =
        vec![("batches.meta.txt".to_owned(), (0..10).map(|i| format!("c{i}\n")).collect::<String>().into())];
    for batch in 0..5 {
        files.push((format!("data_batch_{}.bin", batch + 1), records(0, batch * each..(batch + 1) * each)));
    }
    files.push(("test_batch.bin".into(), records(1, 0..TEST)));
    files
}

/// Name and bytes of every file of CIFAR-100's binary version; the coarse label is 19 always.
pub fn cifar100_binary() -> Vec<(String, Vec<u8>)> {
    let records = |split: usize, images: usize| {
        let one = |i| [vec![19, (i % 100) as u8], planes(split, i, 32)].concat();
        (0..images).flat_map(one).collect::<Vec<u8>>()
    };
    let names: String = (0..100).map(|i| format!("c{i}\n")).collect();
    vec![
        ("fine_label_names.txt".into(), names.into_bytes()),
        ("train.bin".into(), records(0, 100)),
        ("test.bin".into(), records(1, TEST)),
    ]
}

/// Name and bytes of every file of CIFAR-10's Python version, as Python 2 wrote them.
pub fn cifar10_python() -> Vec<(String, Vec<u8>)> {
    let batch = |split: usize, images: std::ops::Range<usize>| {
        let labels: Vec<usize> = images.clone().map(|i| i % 10).collect();
        let pixels: Vec<u8> = images.flat_map(|i| planes(split, i, 32)).collect();
        pickle(|p| {
            p.text("data").array([labels.len(), 3072], &pixels);
            p.text("labels").list(&labels);
        })
    };
    let each = TRAIN / 5;
    let meta = pickle(|p| {
        p.text("label_names");
        p.names((0..10).map(|i| format!("c{i}")));
    });
    let mut files = vec![("batches.meta".to_owned(), meta)];
    for b in 0..5 {
        files.push((format!("data_batch_{}", b + 1), batch(0, b * each..(b + 1) * each)));
    }
    files.push(("test_batch".into(), batch(1, 0..TEST)));
    files
}

/// Name and bytes of every file of STL-10.
pub fn stl10() -> Vec<(String, Vec<u8>)> {
    let images = |split: usize, images: usize| {
        let mut bytes = Vec::new();
        for i in 0..images {
            for c in 0..3 {
                // Column by column.
                bytes.extend((0..96 * 96).map(|at| pixel(split, i, (at % 96, at / 96), c)));
            }
        }
        bytes
    };
    let labels = |images: usize| (0..images).map(|i| (i % 10 + 1) as u8).collect::<Vec<u8>>();
    vec![
        ("test_X.bin".into(), images(1, TEST)),
        ("test_y.bin".into(), labels(TEST)),
        ("train_X.bin".into(), images(0, TRAIN)),
        ("train_y.bin".into(), labels(TRAIN)),
    ]
}

/// Name and bytes of MNIST's files, of 28x28 grey pixels: channel 0 of [`pixel`].
pub fn mnist() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for (split, (name, images)) in [("train", TRAIN), ("t10k", TEST)].into_iter().enumerate() {
        let extents = |kind: u8, extents: &[usize]| {
            let numbers = extents.iter().flat_map(|e| (*e as u32).to_be_bytes());
            [0, 0, 8, kind].into_iter().chain(numbers).collect::<Vec<u8>>()
        };
        let mut pixels = extents(3, &[images, 28, 28]);
        for i in 0..images {
            pixels.extend((0..28 * 28).map(|at| pixel(split, i, (at / 28, at % 28), 0)));
        }
        let mut labels = extents(1, &[images]);
        labels.extend((0..images).map(|i| (i % 10) as u8));
        files.push((format!("{name}-images-idx3-ubyte"), pixels));
        files.push((format!("{name}-labels-idx1-ubyte"), labels));
    }
    files
}

/// Name and bytes of SVHN's two files, of 32x32 pixels; the label of digit 0 is 10.
pub fn svhn() -> Vec<(String, Vec<u8>)> {
    let file = |split: usize, images: usize| {
        let mut pixels = Vec::new();
        for i in 0..images {
            for c in 0..3 {
                // Column by column.
                pixels.extend((0..32 * 32).map(|at| pixel(split, i, (at % 32, at / 32), c)));
            }
        }
        let labels: Vec<u8> = (0..images).map(|i| if i % 10 == 0 { 10 } else { (i % 10) as u8 }).collect();
        let images = [("X", vec![32, 32, 3, images as u32], pixels), ("y", vec![images as u32, 1], labels)];
        mat(&images.map(|(name, dims, bytes)| zlib_element(&matrix(name, &dims, 2, &bytes))))
    };
    vec![("train_32x32.mat".into(), file(0, TRAIN)), ("test_32x32.mat".into(), file(1, TEST))]
}

/// A MATLAB file of version 5 of these elements.
pub fn mat(elements: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"MATLAB 5.0 MAT-file".to_vec();
    bytes.resize(124, b' ');
    bytes.extend([0, 1, b'I', b'M']);
    bytes.extend(elements.concat());
    bytes
}

/// An element that is a variable whose values are stored as the type `kind`.
pub fn matrix(name: &str, dims: &[u32], kind: u32, values: &[u8]) -> Vec<u8> {
    let part = |kind: u32, bytes: &[u8]| {
        let mut part = [kind.to_le_bytes(), (bytes.len() as u32).to_le_bytes()].concat();
        part.extend(bytes);
        part.resize(part.len().next_multiple_of(8), 0);
        part
    };
    let dims: Vec<u8> = dims.iter().flat_map(|d| d.to_le_bytes()).collect();
    // Class 9: bytes. What values are stored as is said by their own part.
    let parts =
        [part(6, &[9, 0, 0, 0, 0, 0, 0, 0]), part(5, &dims), part(1, name.as_bytes()), part(kind, values)];
    part(14, &parts.concat())
}

/// The element, compressed.
pub fn zlib_element(element: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(element).unwrap();
    let bytes = encoder.finish().unwrap();
    [&15u32.to_le_bytes()[..], &(bytes.len() as u32).to_le_bytes(), &bytes].concat()
}

/// The samples `images` of a split as the members of a WebDataset shard: PNGs of 8x8 pixels, labels of three classes, and
/// something to be passed over.
pub fn samples(split: usize, images: std::ops::Range<usize>) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for i in images {
        files.push((format!("{i:06}.json"), b"{}".to_vec()));
        files.push((format!("{i:06}.cls"), (i % 3).to_string().into_bytes()));
        files.push((format!("{i:06}.png"), png(split, i)));
    }
    files
}

/// Image `image` as a PNG of 8x8 pixels.
pub fn png(split: usize, image: usize) -> Vec<u8> {
    let rgb = |x: u32, y: u32| [0, 1, 2].map(|c| pixel(split, image, (y as usize, x as usize), c));
    let picture = image::RgbImage::from_fn(8, 8, |x, y| image::Rgb(rgb(x, y)));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Puts files into a folder.
pub fn unpacked(folder: &Path, files: &[(String, Vec<u8>)]) {
    files.iter().for_each(|(name, bytes)| put(folder.join(name), bytes));
}

/// The files as a tar archive, below `folder`.
pub fn tar(folder: &str, files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, format!("{folder}/{name}"), &bytes[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Compressed.
pub fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A pickle of protocol 2 of one dictionary.
fn pickle(fill: impl FnOnce(&mut Pickler)) -> Vec<u8> {
    let mut pickler = Pickler(vec![0x80, 2, b'}', b'(']);
    fill(&mut pickler);
    pickler.0.extend(*b"u.");
    pickler.0
}

struct Pickler(Vec<u8>);

impl Pickler {
    fn text(&mut self, text: &str) -> &mut Self {
        self.0.extend([b'U', text.len() as u8]);
        self.0.extend(text.bytes());
        self
    }

    fn int(&mut self, value: usize) -> &mut Self {
        self.0.push(b'J');
        self.0.extend((value as i32).to_le_bytes());
        self
    }

    fn list(&mut self, values: &[usize]) {
        self.0.extend(*b"](");
        for value in values {
            self.int(*value);
        }
        self.0.push(b'e');
    }

    fn names(&mut self, names: impl Iterator<Item = String>) {
        self.0.extend(*b"](");
        for name in names {
            self.text(&name);
        }
        self.0.push(b'e');
    }

    /// An array of bytes, as numpy writes it.
    fn array(&mut self, shape: [usize; 2], bytes: &[u8]) {
        self.0.extend(*b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n");
        self.0.extend(*b"K\x00\x85U\x01b\x87R(K\x01");
        self.int(shape[0]).int(shape[1]);
        self.0.extend(*b"\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T");
        self.0.extend((bytes.len() as u32).to_le_bytes());
        self.0.extend(bytes);
        self.0.extend(*b"tb");
    }
}
