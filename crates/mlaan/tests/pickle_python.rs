//! Pickles that the Python at hand writes, of every protocol.

#![allow(clippy::unwrap_used)] // In helpers of tests a failure is a failed test.

mod common;

use common::python::python;
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
