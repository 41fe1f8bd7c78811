//! What `torch.save` writes, in both its forms: where a network lies in it, and what is no network.

use crate::common::torch_file::{Value, archive, dict, old, state_dict};
use crate::common::weights::{Tensors, exported, fails, named, tensors};
use mlaan::import::{Options, StateDict};
use mlaan::train::Trained;
use mlaan::train::{Imported, import};
use std::fs;
use std::path::{Path, PathBuf};

fn put(folder: &Path, bytes: &[u8]) -> PathBuf {
    let file = folder.join("net.pt");
    fs::write(&file, bytes).unwrap();
    file
}

fn keyed(key: &str) -> Options {
    Options { key: Some(key.to_owned()), ..Options::default() }
}

/// What was taken, and the first convolution's values.
fn taken(file: &Path, options: &Options) -> (mlaan::import::Taken, Vec<f32>) {
    let out = tempfile::tempdir().unwrap();
    let run = out.path().join("run");
    let Imported { taken, .. } = import(file, options, &run).unwrap();
    let found = tensors(Trained::open(&run, false).unwrap().model_file().path());
    (taken, found.into_iter().find(|t| t.0 == "conv1.weight").unwrap().2)
}

/// A network, and one of half its values.
fn networks() -> (tempfile::TempDir, Tensors, Tensors) {
    let (at, file) = exported("resnet8", 4, 16);
    let net = tensors(&file);
    let half = named(&net, "", 0.5);
    (at, named(&net, "", 1.0), half)
}

fn stem(net: &Tensors) -> Vec<f32> {
    net.iter().find(|t| t.0.ends_with("conv1.weight") && !t.0.contains("layer")).unwrap().2.clone()
}

#[test]
fn both_forms_hold_the_same() {
    let (at, net, _) = networks();
    for nested in [false, true] {
        let value = if nested { dict([("state_dict", state_dict(&net))]) } else { state_dict(&net) };
        let mut sorted = net.clone();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        for bytes in [archive(&value), old(&value)] {
            assert_eq!(tensors(&put(at.path(), &bytes)), sorted);
        }
    }
}

#[test]
fn the_old_form_is_known_in_any_protocol() {
    let (at, net, _) = networks();
    let bytes = old(&state_dict(&net));
    // A newer one says how long a frame is.
    let framed = [&b"\x80\x04\x95\x0d\0\0\0\0\0\0\0"[..], &bytes[2..]].concat();
    assert_eq!(tensors(&put(at.path(), &framed)).len(), net.len());
}

#[test]
fn tensors_may_have_attributes() {
    let (at, net, _) = networks();
    let Value::Dict(mut entries) = state_dict(&net) else { unreachable!() };
    for (_, value) in &mut entries {
        if let Value::Tensor(shape, values) = value.clone() {
            *value = Value::Attributed(shape, values);
        }
    }
    let file = put(at.path(), &archive(&Value::Dict(entries)));
    assert_eq!(taken(&file, &Options::default()).1, stem(&net));
}

#[test]
fn a_damaged_file_of_the_old_form_is_an_error() {
    let (at, net, _) = networks();
    let whole = old(&state_dict(&net));
    for length in [15, 16, 21, 60, 900, whole.len() / 2, whole.len() - 1] {
        let message = StateDict::open(&put(at.path(), &whole[..length])).err().unwrap().to_string();
        assert!(message.contains("cut off"), "{length}: {message}");
    }
    // The last storage's length, which stands before its values; it is the first tensor's.
    let mut other = whole.clone();
    let last = other.len() - net[0].2.len() * 4 - 8;
    other[last] ^= 1;
    let message = StateDict::open(&put(at.path(), &other)).err().unwrap().to_string();
    assert!(message.contains("are announced: the file is damaged"), "{message}");
}

#[test]
fn a_network_lies_deep_or_in_a_list() {
    let (at, net, half) = networks();
    let deep = dict([("state", dict([("model", dict([("module", dict([("net", state_dict(&net))]))]))]))]);
    let momentum = |name| dict([(name, Value::Tensor(vec![1], vec![1.0]))]);
    let state = Value::Dict(vec![(Value::Int(0), momentum("momentum_buffer"))]);
    let optimiser = || dict([("state", state.clone()), ("param_groups", Value::List(Vec::new()))]);
    for value in [deep.clone(), Value::List(vec![state_dict(&net), optimiser()])] {
        let (taken, values) = taken(&put(at.path(), &archive(&value)), &Options::default());
        assert_eq!((taken.key, taken.others, values), (None, Vec::new(), stem(&net)));
    }
    let file = put(at.path(), &archive(&deep));
    for key in ["state", "model.module", "state.model.module.net", "net"] {
        assert_eq!(taken(&file, &keyed(key)).1, stem(&net), "{key}");
    }
    assert!(fails(&file, &keyed("other")).contains("it has state.model.module.net"));
    // Of several in a list none is guessed.
    let two = dict([("models", Value::List(vec![state_dict(&net), state_dict(&half)]))]);
    let file = put(at.path(), &archive(&two));
    assert!(fails(&file, &Options::default()).contains("several networks: models.0, models.1"));
    let (taken, values) = taken(&file, &keyed("models.1"));
    assert_eq!((taken.key.as_deref(), taken.others), (Some("models.1"), vec!["models.0".to_owned()]));
    assert_eq!(values, stem(&half));
    let message = fails(&put(at.path(), &archive(&optimiser())), &Options::default());
    assert!(message.contains("an optimizer's state"), "{message}");
}

#[test]
fn weights_without_names_are_told_and_left() {
    let (at, net, _) = networks();
    let shadow = || Value::List(net.iter().map(|(_, s, v)| Value::Tensor(s.clone(), v.clone())).collect());
    let average = || dict([("decay", Value::Int(1)), ("shadow_params", shadow())]);
    let message = fails(&put(at.path(), &archive(&average())), &Options::default());
    for part in ["`shadow_params`", "without names", "torch_ema", "ema.copy_to(model.parameters())"] {
        assert!(message.contains(part), "{message}");
    }
    let file = put(at.path(), &archive(&dict([("model", state_dict(&net)), ("ema", average())])));
    let (taken, values) = taken(&file, &Options::default());
    assert_eq!(values, stem(&net));
    assert_eq!(taken.unused, [format!("ema.shadow_params (a list of {} tensors without names)", net.len())]);
    assert!(fails(&file, &keyed("ema")).contains("`ema.shadow_params` is a list"));
    let message = fails(&put(at.path(), &archive(&shadow())), &Options::default());
    assert!(message.contains("without names") && !message.contains("torch_ema"), "{message}");
    let message =
        fails(&put(at.path(), &archive(&Value::Tensor(vec![2], vec![0.0; 2]))), &Options::default());
    assert!(message.contains("one tensor of shape [2]"), "{message}");
}

#[test]
fn tensors_beside_a_state_dict_are_told_and_left() {
    let (at, net, _) = networks();
    let tensor = || Value::Tensor(vec![4], vec![1.0; 4]);
    let many = || dict(["a", "b", "c", "d", "e"].map(|name| (name, tensor())));
    let few = dict([("pos", tensor())]);
    let all =
        [("state_dict", state_dict(&net)), ("class_weights", tensor()), ("loss", few), ("more", many())];
    let (taken, values) = taken(&put(at.path(), &archive(&dict(all))), &Options::default());
    assert_eq!(values, stem(&net));
    assert_eq!(taken.unused, ["class_weights", "loss.pos", "more (5 tensors)"]);
}

#[test]
fn whole_networks_say_how_to_save_them() {
    let (at, net, _) = networks();
    let pickled = || Value::Network("Net".into());
    for bytes in [archive(&dict([("model", pickled())])), old(&dict([("model", pickled())]))] {
        let message = fails(&put(at.path(), &bytes), &Options::default());
        assert!(message.contains("a whole network (an object of __main__.Net)"), "{message}");
    }
    let message = fails(&put(at.path(), &archive(&dict([("model", pickled())]))), &Options::default());
    for part in ["`model`", "a whole network (an object of __main__.Net)", "[\"model\"].state_dict(), NEW)"] {
        assert!(message.contains(part), "{message}");
    }
    let message = fails(&put(at.path(), &archive(&pickled())), &Options::default());
    assert!(message.contains("weights_only=False).state_dict(), NEW)"), "{message}");
    let file = put(at.path(), &archive(&dict([("model", pickled()), ("weights", state_dict(&net))])));
    assert_eq!(taken(&file, &Options::default()).1, stem(&net));
    assert!(fails(&file, &keyed("model")).contains("`model` is a whole network"));
}
