//! Real pickles, damaged ones, and programs that ask for too much.

mod fixtures;

use super::item::work;
use super::*;
use fixtures::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// As Python 2 wrote CIFAR's batches: `str` as bytes, numpy's old module names.
fn cifar() -> Vec<u8> {
    let mut p = b"\x80\x02}q\x01(U\x06labelsq\x02]q\x03(K\x06K\x09eU\x04dataq\x04".to_vec();
    p.extend(b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87Rq\x07");
    p.extend(b"(K\x01K\x02K\x04\x86cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01\x87Rq\x09");
    p.extend(b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T\x08\x00\x00\x00");
    p.extend([0, 1, 2, 3, 250, 251, 252, 253]);
    p.extend(b"tbU\x0bbatch_labelU\x04caf\xe9u.");
    p
}

fn all() -> Vec<Vec<u8>> {
    let hex =
        [PLAIN_0, PLAIN_2, ORDERED_4, ARRAY_0, ARRAY_2, ARRAY_4, ARRAY_5, FORTRAN_4, SCALARS_2, STATE_DICT];
    hex.into_iter().chain(NAMES).map(bytes).chain([cifar()]).collect()
}

/// Looks at everything in every way.
fn walk(pickle: &Pickle) {
    for index in 0..pickle.nodes.len() {
        let item = Item::new(pickle, Id(index as u32));
        let _ = (item.integer(), item.integers(), item.text(), item.bytes(), item.describe());
        let _ = (item.get("data").map(Item::describe), item.persistent().is_some(), item.state().is_some());
        let _ = item.tensor();
        if let Ok(array) = item.array() {
            let _ = (array.unsigned_bytes(), array.integers(), array.floats(), array.texts());
        }
        let _ = (item.name(), item.names(100));
    }
}

fn fault(input: &[u8]) -> Fault {
    Pickle::parse(input, Limits::default()).unwrap_err()
}

#[test]
fn plain_values_of_old_and_new_protocols() {
    for (hex, text) in [(PLAIN_0, "é€"), (PLAIN_2, "é")] {
        let input = bytes(hex);
        let pickle = Pickle::parse(&input, Limits::default()).unwrap();
        assert_eq!(pickle.length(), input.len());
        let root = pickle.root();
        let a: Vec<Item> = root.get("a").unwrap().sequence().unwrap().collect();
        assert_eq!((a[0].integer(), a[1].integer()), (Some(1), Some(-2)));
        assert_eq!(a[a.len() - 2].integer(), Some(1 << 40));
        assert_eq!(a[a.len() - 1].value(), &Value::Huge);
        let b: Vec<&Value> = root.get("b").unwrap().sequence().unwrap().map(Item::value).collect();
        assert_eq!(b, [&Value::Float(1.5), &Value::None, &Value::Bool(true), &Value::Bool(false)]);
        assert_eq!(root.get("c").unwrap().text().unwrap(), text);
        assert_eq!(*root.get("d").unwrap().bytes().unwrap(), [0, 255]);
        assert!(root.get("z").is_none());
    }
}

#[test]
fn calls_are_kept_and_not_made() {
    let input = bytes(ORDERED_4);
    let pickle = Pickle::parse(&input, Limits::default()).unwrap();
    let root = pickle.root();
    assert_eq!(root.callee(), Some(("collections", "OrderedDict")));
    assert_eq!(root.get("x").unwrap().integer(), Some(1));
    assert_eq!(root.get("y").unwrap().integers(), Some(vec![2, 3]));
    // What an attacker would send.
    let hostile = b"cos\nsystem\n(S'rm -rf x'\ntR.";
    let pickle = Pickle::parse(hostile, Limits::default()).unwrap();
    assert_eq!(pickle.root().callee(), Some(("os", "system")));
    assert_eq!(pickle.root().describe(), "an object of os.system");
}

#[test]
fn arrays_of_every_protocol() {
    for hex in [ARRAY_0, ARRAY_2, ARRAY_4, ARRAY_5] {
        let input = bytes(hex);
        let pickle = Pickle::parse(&input, Limits::default()).unwrap();
        let array = pickle.root().get("data").unwrap().array().unwrap();
        assert_eq!(array.shape, [2, 3]);
        assert_eq!(*array.unsigned_bytes().unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(array.floats(), None);
        assert_eq!(pickle.root().get("labels").unwrap().integers(), Some(vec![3, 1]));
    }
    let input = bytes(FORTRAN_4);
    let pickle = Pickle::parse(&input, Limits::default()).unwrap();
    let array = pickle.root().array().unwrap();
    assert_eq!(array.steps, Some(vec![1, 2]));
    assert_eq!((array.integers(), array.unsigned_bytes()), (Some(vec![0, 1, 2, 3, 4, 5]), None));
    let input = bytes(SCALARS_2);
    let pickle = Pickle::parse(&input, Limits::default()).unwrap();
    let scalars: Vec<Item> = pickle.root().sequence().unwrap().collect();
    assert_eq!(scalars[0].integer(), Some(5));
    assert_eq!(scalars[1].array().unwrap().floats(), Some(vec![2.5]));
}

#[test]
fn bytes_of_an_element_in_either_order() {
    let array = |scalar, big_endian, data: &[u8]| Array {
        shape: vec![data.len() / scalar_size(scalar)],
        scalar,
        steps: None,
        big_endian,
        data: data.to_vec().into(),
    };
    fn scalar_size(scalar: Scalar) -> usize {
        scalar.size()
    }
    let big = array(Scalar::Signed(2), true, &[0xff, 0xfe, 0x01, 0x00]);
    assert_eq!(big.integers(), Some(vec![-2, 256]));
    assert_eq!(array(Scalar::Unsigned(2), false, &[0xfe, 0xff]).integers(), Some(vec![0xfffe]));
    assert_eq!(array(Scalar::Unsigned(8), false, &[0xff; 8]).integers(), None);
    assert_eq!(array(Scalar::Float(8), true, &1.5_f64.to_be_bytes()).floats(), Some(vec![1.5]));
}

#[test]
fn names_as_numpy_keeps_them() {
    let lists =
        [["cat", "dog"], ["cat", "d\u{f6}g \u{1f600}"], ["cat", "caf\u{e9}"], ["cat", "dog"], ["cat", "dog"]];
    for hex in NAMES {
        let input = bytes(hex);
        let pickle = Pickle::parse(&input, Limits::default()).unwrap();
        for (item, names) in pickle.root().sequence().unwrap().zip(lists) {
            assert_eq!(item.names(2).unwrap(), names);
            assert_ne!(item.names(1).map(|names| names.len()), Some(2), "no more than are asked for");
            assert_eq!((item.name(), item.integers()), (None, None));
        }
    }
    // An array that holds itself is no list of names.
    let mut cyclic =
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nK\x00\x85U\x01b\x87Rq\x07"
            .to_vec();
    cyclic.extend(b"(K\x01K\x01\x85h\x05\x89]h\x07atb.");
    assert_eq!(Pickle::parse(&cyclic, Limits::default()).unwrap().root().names(9), None);
}

#[test]
fn a_batch_as_python_2_wrote_it() {
    let input = cifar();
    let pickle = Pickle::parse(&input, Limits::default()).unwrap();
    let root = pickle.root();
    assert_eq!(root.get("labels").unwrap().integers(), Some(vec![6, 9]));
    let array = root.get("data").unwrap().array().unwrap();
    assert_eq!(array.shape, [2, 4]);
    assert_eq!(*array.unsigned_bytes().unwrap(), [0, 1, 2, 3, 250, 251, 252, 253]);
    assert_eq!(root.get("batch_label").unwrap().text().unwrap(), "café");
}

#[test]
fn tensors_of_a_state_dict() {
    let input = bytes(STATE_DICT);
    let pickle = Pickle::parse(&input, Limits::default()).unwrap();
    let w = pickle.root().get("w").unwrap().tensor().unwrap();
    assert_eq!((w.shape.as_slice(), w.strides.as_slice(), w.offset), (&[2, 3][..], &[3, 1][..], 0));
    assert_eq!(w.storage, Storage { element: Element::F32, key: "0".into(), length: 6 });
    assert!(w.contiguous());
    let n = pickle.root().get("n").unwrap().tensor().unwrap();
    assert_eq!((n.shape.len(), n.count(), n.storage.element), (0, Some(1), Element::I64));
    let metadata = pickle.root().state().unwrap().get("_metadata").unwrap();
    assert!(metadata.tensor().unwrap_err().contains("instead of a tensor"));
}

#[test]
fn a_tensor_reads_no_more_than_its_storage() {
    let view = |shape: &str, strides: &str, offset: u8| {
        let mut p =
            b"ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x06tQ"
                .to_vec();
        p.extend([b'K', offset]);
        p.extend(format!("({shape}t({strides}tI00\nNtR.").bytes());
        let pickle = Pickle::parse(&p, Limits::default()).unwrap();
        pickle.root().tensor().map(|t| t.contiguous())
    };
    assert_eq!(view("I2\nI3\n", "I3\nI1\n", 0), Ok(true));
    assert_eq!(view("I3\nI2\n", "I1\nI3\n", 0), Ok(false));
    let huge = format!("I{}\nI{0}\n", i64::MAX);
    for (shape, strides, offset) in
        [("I2\nI3\n", "I3\nI1\n", 1), ("I7\n", "I1\n", 0), ("I1000\n", "I0\n", 0), (&huge, "I1\nI1\n", 0)]
    {
        assert!(view(shape, strides, offset).unwrap_err().contains("lies outside"), "{shape:?}");
    }
    assert!(view("I2\n", "I1\nI1\n", 0).unwrap_err().contains("strides"));
    assert!(view("I-2\n", "I1\n", 0).unwrap_err().contains("no shape"));
}

#[test]
fn a_pickle_cut_off_anywhere_is_an_error_that_says_where() {
    for input in all() {
        for length in 0..input.len() {
            let fault = fault(&input[..length]);
            assert!(fault.offset <= length, "{fault}");
        }
    }
}

#[test]
fn no_damage_is_a_panic_or_a_large_allocation() {
    for input in all() {
        for at in 0..input.len() {
            // At every place other bytes.
            for byte in (0..7).map(|k| at * 11 + k * 37) {
                let mut damaged = input.clone();
                damaged[at] = byte as u8;
                if let Ok(pickle) = Pickle::parse(&damaged, Limits::default()) {
                    assert!(pickle.nodes.len() <= damaged.len());
                    walk(&pickle);
                }
            }
        }
    }
}

#[test]
fn lengths_beyond_the_input_are_refused_at_once() {
    let cases: [&[u8]; 6] = [
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x96\x00\x00\x00\x00\x00\x01\x00\x00",
        b"B\xff\xff\xff\xffx",
        b"T\xff\xff\xff\x7fx",
        b"T\xff\xff\xff\xffx",
    ];
    for input in cases {
        let message = fault(input).to_string();
        assert!(message.contains("announced") || message.contains("impossible"), "{message}");
    }
}

#[test]
fn limits_hold() {
    let limits = Limits { steps: 100, nodes: 10 };
    let nested = [&b"("[..], &b"]"[..].repeat(11), b"t."].concat();
    let message = Pickle::parse(&nested, limits).unwrap_err().message;
    assert!(message.contains("more than 10 values"), "{message}");
    let long = [&b"N"[..], &b"2"[..].repeat(200), b"."].concat();
    let message = Pickle::parse(&long, limits).unwrap_err().message;
    assert!(message.contains("more than 100 instructions"), "{message}");
}

#[test]
fn depth_and_circles_cost_no_stack() {
    // A list in a list in a list, and a list that holds itself; an array whose shape is itself.
    let depth = 200_000;
    let deep = [b"]".repeat(depth), b"a".repeat(depth - 1), b".".to_vec()].concat();
    let pickle = Pickle::parse(&deep, Limits::default()).unwrap();
    assert_eq!(pickle.root().sequence().unwrap().len(), 1);
    let circle = Pickle::parse(b"]q\x00h\x00a.", Limits::default()).unwrap();
    walk(&circle);
    let array = b"cnumpy.core.multiarray\n_reconstruct\n)Rq\x00(K\x01h\x00h\x00h\x00h\x00tb.";
    let circle = Pickle::parse(array, Limits::default()).unwrap();
    walk(&circle);
    assert!(circle.root().array().unwrap_err().contains("shape"));
}

#[test]
fn misuse_of_the_stack_is_an_error() {
    let cases: [(&[u8], &str); 12] = [
        (b".", "no value"),
        (b"(.", "no value"),
        (b"N(a.", "no value"),
        (b"t.", "no mark"),
        (b"\x85.", "too few"),
        (b"N(\x85.", "too few"),
        (b"NNa.", "no list"),
        (b"NNNs.", "no dictionary"),
        (b"}(Nu.", "no value"),
        (b"NNb.", "no object"),
        (b"h\x00.", "not remembered"),
        (b"\x80\x06N.", "newer"),
    ];
    for (input, expected) in cases {
        let message = fault(input).message;
        assert!(message.contains(expected), "{input:?}: {message}");
    }
    assert!(fault(b"<html>").message.contains("no instruction"));
}

/// `count` references to what `value` makes, in a list.
fn shared(value: &[u8], count: usize) -> Vec<u8> {
    [&b"\x80\x02"[..], value, b"q\x01](", &b"h\x01".repeat(count), b"e."].concat()
}

#[test]
fn what_is_referred_to_often_is_not_looked_through_each_time() {
    let (n, mut long) = (20_000, b"(".to_vec());
    long.extend(b"K\x01".repeat(n));
    long.push(b't');
    let text = |code: u8| [&[code][..], &(n as u32).to_le_bytes(), &b"\xc3\xa4".repeat(n / 2)].concat();
    let concat = |parts: &[&[u8]]| parts.concat();
    let reconstruct = b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01";
    let dtype = b"cnumpy\ndtype\n(U\x02i8tR";
    let scalar = b"cnumpy.core.multiarray\nscalar\n(";
    let encoded = concat(&[b"c_codecs\nencode\n(", &text(b'X'), b"U\x06latin1tR"]);
    let named = concat(&[b"c", &text(b'X'), b"\nx\n)R"]);
    for (what, value) in [
        ("arguments", concat(&[b"ctorch._utils\n_rebuild_tensor_v2\n", &long, b"R"])),
        ("sizes of a tensor", concat(&[b"ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x06tQK\x00", &long, &long, b"tR"])),
        ("sizes of an array", concat(&[reconstruct, &long, dtype, b"\x89U\x00tb"])),
        ("a state", concat(&[b"cnumpy.core.multiarray\n_reconstruct\n)R", &long, b"b"])),
        ("a storage", concat(&[b"ctorch._utils\n_rebuild_tensor_v2\n(", &long, b"QK\x00))tR"])),
        ("a scalar's bytes", concat(&[scalar, dtype, &encoded, b"tR"])),
        ("a type's name", concat(&[scalar, b"cnumpy\ndtype\n(", &text(b'T'), b"tRU\x00tR"])),
        ("a module's name", named),
        ("bytes as text", text(b'T')),
    ] {
        let input = shared(&value, n);
        let pickle = Pickle::parse(&input, Limits::default()).unwrap();
        work::DONE.set(0);
        let items = pickle.root().sequence().unwrap();
        assert_eq!(items.len(), n, "{what}");
        for item in items {
            // None of them is what it claims to be.
            assert!(item.tensor().is_err_and(|e| e.len() < 2000), "{what}");
            assert!(item.integer().is_none() && item.text().is_none(), "{what}");
            assert!(item.describe().len() < 300, "{what}");
        }
        let array = pickle.root().sequence().unwrap().next().unwrap().array();
        assert!(array.is_err_and(|e| e.len() < 2000), "{what}");
        // Each might be n if all of it was looked at.
        assert!(work::DONE.get() < 100 * n, "{what}: {}", work::DONE.get());
    }
}
