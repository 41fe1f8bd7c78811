//! Pickles that the Python at hand writes, of every protocol.

use crate::common::python::python;
use mlaan::pickle::{Limits, Pickle};

const SCRIPT: &str = r#"
import collections, pickle, sys
value = collections.OrderedDict(
    [("text", "caf\u00e9 \u20ac \U0001f600" + "x" * 300), ("bytes", bytes(range(256)) * 2), ("list", list(range(-3, 2000, 7))),
     ("big", [2**31, -2**31, 2**63 - 1, -2**63]), ("nested", {"a": ({"b": [1.25]},)})]
)
value["again"] = value["list"]
print(pickle.dumps(value, int(sys.argv[1])).hex())
"#;

const ARRAYS: &str = r#"
import pickle, sys
import numpy as np
a = np.arange(24).reshape(2, 3, 4)
arrays = [np.asarray(a.astype(t), order=o) for t in ("u1", ">i2", "<i8", "f4", ">f8") for o in "CF"]
print(pickle.dumps(arrays + [a[:, ::2, 1:].astype("u1")], int(sys.argv[1])).hex())
"#;

fn bytes(hex: &str) -> Vec<u8> {
    let hex = hex.trim();
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn plain_values() {
    let Some(python) = python(&["pickle"]) else { return };
    for protocol in 0..=5 {
        let input = bytes(&python.run(SCRIPT, &[protocol.to_string()]));
        let pickle = Pickle::parse(&input, Limits::default()).unwrap();
        let get = |key| pickle.root().get(key).unwrap();
        assert_eq!(get("text").text().unwrap(), format!("café € 😀{}", "x".repeat(300)));
        let expected: Vec<u8> = (0..512_u32).map(|i| i as u8).collect();
        assert_eq!(*get("bytes").bytes().unwrap(), *expected, "protocol {protocol}");
        let list: Vec<i64> = (-3..2000).step_by(7).collect();
        assert_eq!(get("list").integers().unwrap(), list);
        assert_eq!(get("again").integers().unwrap(), list);
        assert_eq!(get("big").integers().unwrap(), [1 << 31, -(1 << 31), i64::MAX, i64::MIN]);
        let inner = get("nested").get("a").unwrap().sequence().unwrap().next().unwrap();
        assert_eq!(inner.get("b").unwrap().describe(), "a list of 1");
    }
}

#[test]
fn arrays() {
    let Some(python) = python(&["pickle", "numpy"]) else { return };
    for protocol in 0..=5 {
        let input = bytes(&python.run(ARRAYS, &[protocol.to_string()]));
        let pickle = Pickle::parse(&input, Limits::default()).unwrap();
        let mut items: Vec<_> = pickle.root().sequence().unwrap().collect();
        let part = items.pop().unwrap().array().unwrap();
        assert_eq!(part.shape, [2, 2, 3]);
        assert_eq!(*part.unsigned_bytes().unwrap(), [1, 2, 3, 9, 10, 11, 13, 14, 15, 21, 22, 23]);
        assert_eq!(items.len(), 10);
        for item in items {
            let array = item.array().unwrap();
            assert_eq!(array.shape, [2, 3, 4]);
            let found: Vec<i64> = match array.floats() {
                Some(floats) => floats.into_iter().map(|v| v as i64).collect(),
                None => array.integers().unwrap(),
            };
            assert_eq!(found, (0..24).collect::<Vec<i64>>(), "protocol {protocol}, {array:?}");
        }
    }
}

/// CIFAR-10 as people write it again: keys, names and file names as bytes or text, arrays or lists.
const CIFAR: &str = r#"
import pickle, sys
import numpy as np
root, protocol, keys, form, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
name = (lambda s: s.encode()) if keys == "bytes" else (lambda s: s)
def write(file, value):
    with open(f"{root}/{file}", "wb") as out:
        pickle.dump(value, out, protocol)
for b, file in enumerate([f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]):
    pixels = (np.arange(2 * 3072).reshape(2, 3072) * 7 + b).astype(np.uint8)
    labels = [2 * b % 10, (2 * b + 1) % 10]
    data, own = {
        "arrays": lambda: (pixels, np.array(labels)),
        "lists": lambda: (pixels.tolist(), labels),
        "rows": lambda: (list(pixels), [np.int64(l) for l in labels]),
        "planes": lambda: (pixels.reshape(2, 3, 32, 32).astype(np.int64), np.array(labels).reshape(2, 1)),
        "colours": lambda: (np.ascontiguousarray(pixels.reshape(2, 3, 32, 32).transpose(0, 2, 3, 1)), labels),
        "view": lambda: (pixels.reshape(2, 3, 32, 32).transpose(0, 2, 3, 1), labels),
    }[form]()
    write(file, {name("data"): data, name("labels"): own, name("batch_label"): name("x"), name("filenames"): [name("a.png"), name("b.png")]})
names = [name(f"c{i}") for i in range(10)]
names = {"list": names, "array": np.array(names), "objects": np.array(names, dtype=object), "scalars": list(np.array(names))}[kind]
write("batches.meta", {name("label_names"): names, name("num_vis"): 3072})
"#;

#[test]
fn cifar_that_was_pickled_again() {
    use mlaan::data::{OpenOptions, open};
    let Some(python) = python(&["pickle", "numpy"]) else { return };
    for protocol in 2..=5 {
        for keys in ["bytes", "text"] {
            let names = ["list", "array", "objects", "scalars", "list", "list"];
            for (form, names) in
                ["arrays", "lists", "rows", "planes", "colours", "view"].into_iter().zip(names)
            {
                let root = tempfile::TempDir::new().unwrap();
                let path = root.path().to_str().unwrap();
                python.run(CIFAR, &[path, &protocol.to_string(), keys, form, names]);
                let case = format!("protocol {protocol}, {keys}, {form}, names as {names}");
                let splits = open(path, &OpenOptions::default()).unwrap_or_else(|e| panic!("{case}: {e}"));
                assert_eq!((splits.train.len(), splits.test.len()), (10, 2), "{case}");
                assert_eq!(splits.train.classes()[9], "c9", "{case}");
                let mut scratch = Vec::new();
                for index in 0..10 {
                    let (batch, row) = (index / 2, index % 2);
                    assert_eq!(splits.train.label(index), (2 * batch + row) % 10, "{case}");
                    let image = splits.train.image(index, &mut scratch).unwrap();
                    for (at, rgb) in image.rgb.chunks(3).enumerate() {
                        let pixel = |plane: usize| (((row * 3 + plane) * 1024 + at) * 7 + batch) as u8;
                        assert_eq!(rgb, [pixel(0), pixel(1), pixel(2)], "{case}, image {index}");
                    }
                }
            }
        }
    }
}
