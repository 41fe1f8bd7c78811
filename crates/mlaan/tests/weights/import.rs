//! State dicts from files that are not PyTorch's at the moment: round trips, misfits, damage.

use crate::common::trained::recipe;
use crate::common::weights::{Tensors, exported, fails, named, tensors, write};
use mlaan::export::{Format, export};
use mlaan::import::{Options, StateDict};
use mlaan::recipe::MeanStd;
use mlaan::train::Trained;
use mlaan::train::{Imported, import};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn what_is_exported_comes_back_to_the_bit() {
    for (backbone, width, size) in [("resnet14", 4, 16), ("resnet18", 4, 40), ("resnet50", 4, 40)] {
        let (at, file) = exported(backbone, width, size);
        let out = at.path().join("back");
        let Imported { manifest, taken, .. } = import(&file, &Options::default(), &out).unwrap();
        assert!(!taken.new_classifier);
        assert_eq!((manifest.epoch, manifest.classes.len()), (0, 4));
        // What the export says of itself.
        let was = Trained::open(&at.path().join("run"), false).unwrap().manifest;
        assert_eq!((manifest.size, manifest.classes, manifest.normalise), (size, was.classes, was.normalise));
        // Without it, what is usual.
        let bare = at.path().join("bare.safetensors");
        let kept = tensors(&file).into_iter().filter(|(n, ..)| !n.ends_with("num_batches_tracked"));
        write(&bare, &kept.collect::<Vec<_>>());
        let Imported { manifest, .. } = import(&bare, &Options::default(), &at.path().join("usual")).unwrap();
        assert_eq!(manifest.size, if backbone == "resnet14" { 32 } else { 224 });
        assert_eq!(manifest.classes, ["0", "1", "2", "3"]);
        let back = Trained::open(&out, false).unwrap();
        assert_eq!(back.recipe.model.backbone.to_string(), backbone);
        assert_eq!(back.recipe.model.width(), width);
        let run = Trained::open(&at.path().join("run"), false).unwrap();
        assert_eq!(tensors(back.model_file().path()), tensors(run.model_file().path()));
    }
}

#[test]
fn wrappers_names_are_understood() {
    let (at, file) = exported("resnet8", 4, 16);
    let rename = |name: &str| {
        let inner = name.replace(".downsample.", ".shortcut.");
        format!("module.model.{}", inner.strip_prefix("fc").map_or(inner.clone(), |l| format!("linear{l}")))
    };
    let mut wrapped: Vec<_> = tensors(&file).into_iter().map(|(n, s, v)| (rename(&n), s, v)).collect();
    // `linear` stands at the top, as in the networks that call it so.
    wrapped.retain(|(n, ..)| !n.ends_with("num_batches_tracked"));
    let other = at.path().join("wrapped.safetensors");
    write(&other, &wrapped);
    let Imported { taken, .. } = import(&other, &Options::default(), &at.path().join("out")).unwrap();
    assert!(!taken.new_classifier);
    assert_eq!(taken.tensors, wrapped.len());
}

#[test]
fn other_classes_get_a_new_classifier() {
    let (at, file) = exported("resnet8", 4, 16);
    let names = ["a", "b", "c"].map(str::to_owned).to_vec();
    let options = Options { classes: Some(names.clone()), size: Some(24), ..Options::default() };
    let message = fails(&file, &options);
    assert!(
        message.contains("has 4 classes, and 3 are named") && message.contains("--new-classifier"),
        "{message}"
    );
    let options = Options { new_classifier: true, ..options };
    let out = at.path().join("out");
    let Imported { manifest, taken, .. } = import(&file, &options, &out).unwrap();
    assert!(taken.new_classifier);
    assert_eq!((manifest.classes, manifest.size), (names, 24));
    let trained = Trained::open(&out, false).unwrap();
    let found = tensors(trained.model_file().path());
    let fc = found.iter().find(|t| t.0 == "fc.weight").unwrap();
    assert_eq!(fc.1, [3, 16]);
    assert!(fc.2.iter().all(|v| v.abs() <= 0.25) && fc.2.iter().any(|v| v.abs() > 0.01));
}

#[test]
fn a_new_classifier_can_be_asked_for() {
    let (at, file) = exported("resnet8", 4, 16);
    let Imported { taken, .. } =
        import(&file, &Options { new_classifier: true, ..Options::default() }, &at.path().join("out"))
            .unwrap();
    assert!(taken.new_classifier);
    let fc = |file: &Path| tensors(file).into_iter().find(|t| t.0 == "fc.weight").unwrap();
    let (old, new) =
        (fc(&file), fc(Trained::open(&at.path().join("out"), false).unwrap().model_file().path()));
    assert!(old.1 == new.1 && old.2 != new.2);
}

#[test]
fn of_weights_and_their_average_one_is_taken_and_the_other_told() {
    let (at, file) = exported("resnet8", 4, 16);
    let net = tensors(&file);
    let both = at.path().join("both.safetensors");
    let more = ["criterion.weight", "ema.n_averaged"].map(|n| (n.to_owned(), vec![1], vec![1.0]));
    write(&both, &[named(&net, "model.", 1.0), named(&net, "ema.module.", 0.5), more.to_vec()].concat());
    let stem = |out: &str, options: &Options| {
        let Imported { taken, .. } = import(&both, options, &at.path().join(out)).unwrap();
        let found = tensors(Trained::open(&at.path().join(out), false).unwrap().model_file().path());
        (taken, found.into_iter().find(|t| t.0 == "conv1.weight").unwrap().2)
    };
    let own = net.iter().find(|t| t.0 == "conv1.weight").unwrap().2.clone();
    let (taken, found) = stem("raw", &Options::default());
    assert_eq!((taken.key.as_deref(), taken.average), (Some("model"), false));
    assert_eq!(
        (taken.others, taken.unused),
        (vec!["ema.module".to_owned()], vec!["criterion.weight".to_owned(), "ema.n_averaged".to_owned()])
    );
    assert_eq!(found, own);
    for key in ["ema", "ema.module"] {
        let (taken, found) = stem(key, &Options { key: Some(key.into()), ..Options::default() });
        assert_eq!(
            (taken.key.as_deref(), taken.average, taken.others),
            (Some("ema.module"), true, vec!["model".to_owned()])
        );
        assert_eq!(found, own.iter().map(|x| x * 0.5).collect::<Vec<_>>());
    }
    let message = fails(&both, &Options { key: Some("swa".into()), ..Options::default() });
    assert!(message.contains("`swa`") && message.contains("it has ema.module, model"), "{message}");
    // An average alone, with its counter.
    write(&both, &[named(&net, "module.", 1.0), vec![("n_averaged".into(), vec![1], vec![3.0])]].concat());
    let (taken, found) = stem("alone", &Options::default());
    assert_eq!((taken.average, taken.unused, found), (true, vec!["n_averaged".to_owned()], own));
    // Something else beside a network is still a fault.
    write(
        &both,
        &[named(&net, "backbone.", 1.0), vec![("classifier.weight".into(), vec![1], vec![3.0])]].concat(),
    );
    assert!(fails(&both, &Options::default()).contains("1 unexpected (classifier.weight)"));
}

#[test]
fn shortcuts_without_parameters_are_explained() {
    let (at, file) = exported("resnet14", 4, 16);
    let other = at.path().join("other.safetensors");
    let mut net = named(&tensors(&file), "module.", 1.0);
    net.retain(|(n, ..)| !n.contains(".downsample."));
    write(&other, &net);
    let message = fails(&other, &Options::default());
    for part in ["shortcuts have no parameters", "option A", "layer2.0.downsample.0.weight", "9 more"] {
        assert!(message.contains(part), "{message}");
    }
    // One of several is damage.
    let mut net = named(&tensors(&file), "", 1.0);
    net.retain(|(n, ..)| n != "layer2.0.downsample.0.weight");
    write(&other, &net);
    assert!(fails(&other, &Options::default()).contains("1 missing (layer2.0.downsample.0.weight)"));
}

#[test]
fn what_does_not_fit_is_listed() {
    let (at, file) = exported("resnet8", 4, 16);
    let mut net = tensors(&file);
    net.retain(|(n, ..)| !n.ends_with("num_batches_tracked") && n != "layer2.0.bn1.weight");
    net.push(("head.extra".into(), vec![2], vec![0.0; 2]));
    let at_conv = net.iter().position(|t| t.0 == "layer3.0.conv2.weight").unwrap();
    net[at_conv].1 = vec![16, 16, 9];
    let other = at.path().join("other.safetensors");
    write(&other, &net);
    let message = fails(&other, &Options::default());
    for part in [
        "1 missing (layer2.0.bn1.weight)",
        "layer3.0.conv2.weight [16, 16, 9] instead of [16, 16, 3, 3]",
        "1 unexpected (head.extra)",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let model = recipe("resnet14", 4, 16).model;
    let message = fails(&file, &Options { model: Some(model), ..Options::default() });
    assert!(message.contains("30 missing") && message.contains("and 25 more"), "{message}");
    net.retain(|(n, ..)| !n.starts_with("layer3"));
    write(&other, &net);
    assert!(fails(&other, &Options::default()).contains("stages of [1, 1] basic blocks"));
    write(&other, &[("a.weight".into(), vec![1], vec![0.0])]);
    assert!(fails(&other, &Options::default()).contains("no ResNet under torchvision's names"));
}

#[test]
fn half_a_classifier_is_no_other_classes() {
    let (at, file) = exported("resnet8", 4, 16);
    let mut net = tensors(&file);
    net.retain(|(n, ..)| !n.ends_with("num_batches_tracked"));
    let other = at.path().join("other.safetensors");
    let with = |change: &dyn Fn(&mut Vec<_>)| {
        let mut net = net.clone();
        change(&mut net);
        write(&other, &net);
        fails(&other, &Options { model: Some(recipe("resnet8", 4, 16).model), ..Options::default() })
    };
    let without = |name: &'static str| move |net: &mut Vec<(String, _, _)>| net.retain(|t| t.0 != name);
    let message = with(&without("fc.bias"));
    assert!(message.ends_with("1 missing (fc.bias)"), "{message}");
    let message = with(&|net| {
        let bias = net.iter_mut().find(|t| t.0 == "fc.bias").unwrap();
        (bias.1, bias.2) = (vec![3], vec![0.0; 3]);
    });
    assert!(message.contains("fc.bias [3] instead of [4]"), "{message}");
    // None at all is a network without a classifier, which is new then.
    let bare: Vec<_> = net.iter().filter(|(n, ..)| !n.starts_with("fc.")).cloned().collect();
    write(&other, &bare);
    let classes = Some(vec!["a".to_owned(), "b".to_owned(), "c".to_owned(), "d".to_owned()]);
    let options = Options { classes, ..Options::default() };
    assert!(import(&other, &options, &at.path().join("bare")).unwrap().taken.new_classifier);
}

#[test]
fn a_header_cannot_ask_for_all_memory() {
    let (at, file) = exported("resnet8", 4, 16);
    let mut net = tensors(&file);
    net.retain(|(n, ..)| !n.ends_with("num_batches_tracked"));
    let other = at.path().join("other.safetensors");
    // Two megabytes that announce a network of a terabyte.
    let wide = 20_000;
    let first = net.iter().position(|t| t.0 == "conv1.weight").unwrap();
    net[first] = ("conv1.weight".into(), vec![wide, 3, 3, 3], vec![0.0; wide * 27]);
    write(&other, &net);
    let message = fails(&other, &Options::default());
    assert!(message.contains("bn1.weight [4] instead of [20000]"), "{message}");
    // Extents without values announce anything.
    net[first] = ("conv1.weight".into(), vec![1 << 40, 3, 3, 0], Vec::new());
    write(&other, &net);
    let message = fails(&other, &Options::default());
    assert!(message.contains("`conv1.weight`") && message.contains("no values"), "{message}");
}

#[test]
fn values_that_are_no_numbers_are_refused() {
    let (at, file) = exported("resnet8", 4, 16);
    let mut net = tensors(&file);
    net.retain(|(n, ..)| !n.ends_with("num_batches_tracked"));
    net.iter_mut().find(|t| t.0 == "bn1.bias").unwrap().2[1] = f32::NAN;
    let other = at.path().join("other.safetensors");
    write(&other, &net);
    assert!(fails(&other, &Options::default()).contains("`bn1.bias` holds NaN"));
}

#[test]
fn damaged_files_are_errors() {
    let (at, file) = exported("resnet8", 4, 16);
    let whole = fs::read(&file).unwrap();
    let other = at.path().join("other");
    for length in [0, 5, 8, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&other, &whole[..length]).unwrap();
        let message = StateDict::open(&other).err().unwrap().to_string();
        let expected = if length == 0 { "empty" } else { "cut off" };
        assert!(message.contains(expected), "{length}: {message}");
    }
    let legacy = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.";
    for (bytes, part) in [
        (&legacy[..], "before version 1.6"),
        (b"\x80\x04}.", "plain pickle"),
        (b"", "empty"),
        (b"PK\x03\x04 and no more", "cut off or damaged"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff", "neither"),
    ] {
        fs::write(&other, bytes).unwrap();
        let message = StateDict::open(&other).err().unwrap().to_string();
        assert!(message.contains(part), "{message}");
    }
    assert!(StateDict::open(&at.path().join("missing")).is_err());
    assert!(StateDict::open(at.path()).err().unwrap().to_string().contains("a folder"));
    let onnx = at.path().join("net.onnx");
    export(&Trained::open(&at.path().join("run"), false).unwrap(), Format::Onnx, &onnx).unwrap();
    let message = StateDict::open(&onnx).err().unwrap().to_string();
    assert!(message.contains("ONNX") && message.contains("safetensors"), "{message}");
}

/// A file of a network behind a prefix, and further tensors.
fn beside(at: &Path, net: &Tensors, prefix: &str, more: &[(&str, &[usize], f32)]) -> PathBuf {
    let of = |(name, shape, value): &(&str, &[usize], f32)| {
        ((*name).to_owned(), shape.to_vec(), vec![*value; shape.iter().product()])
    };
    let file = at.join("beside.safetensors");
    write(&file, &[named(net, prefix, 1.0), more.iter().map(of).collect()].concat());
    file
}

fn imported(file: &Path, options: &Options) -> Imported {
    let out = tempfile::tempdir().unwrap();
    import(file, options, &out.path().join("x")).unwrap()
}

#[test]
fn what_training_keeps_beside_a_network_is_no_fault() {
    let (at, file) = exported("resnet8", 4, 16);
    let net = tensors(&file);
    let more: &[(&str, &[usize], f32)] = &[
        ("train_acc.tp", &[4], 1.0),
        ("metrics.f1.fn", &[4], 1.0),
        ("cm.confmat", &[4, 4], 1.0),
        ("running.mean_value", &[1], 1.0),
        ("running.weight", &[1], 1.0),
        ("queue", &[4, 8], 1.0),
        ("queue_ptr", &[1], 1.0),
        ("projector.0.weight", &[4, 4], 1.0),
        // Without a value so far.
        ("seen.targets", &[0], 1.0),
    ];
    let mut names: Vec<String> = more.iter().map(|(name, ..)| (*name).to_owned()).collect();
    names.sort();
    for prefix in ["", "model."] {
        let Imported { taken, .. } = imported(&beside(at.path(), &net, prefix, more), &Options::default());
        let mut unused = taken.unused.clone();
        unused.sort();
        assert_eq!(unused, names);
        assert!(!taken.new_classifier);
    }
    let bare: Tensors = net.iter().filter(|t| t.0 != "fc.weight").cloned().collect();
    let file = beside(at.path(), &bare, "", &[("fc.weight", &[0, 16], 1.0)]);
    assert!(fails(&file, &Options::default()).contains("`fc.weight` has shape [0, 16]"));
    // A module whose name only looks like one is still a fault.
    let file = beside(at.path(), &net, "", &[("accessor.weight", &[4], 1.0)]);
    assert!(fails(&file, &Options::default()).contains("1 unexpected (accessor.weight)"));
}

#[test]
fn statistics_of_a_wrapper_are_taken_and_said() {
    let (at, file) = exported("resnet8", 4, 16);
    let net = tensors(&file);
    let of = |mean: f32, std: f32| -> PathBuf {
        let more: &[(&str, &[usize], f32)] =
            &[("norm.pixel_mean", &[1, 3, 1, 1], mean), ("norm.pixel_std", &[3], std)];
        beside(at.path(), &net, "backbone.", more)
    };
    for (mean, std) in [(0.5, 0.25), (127.5, 63.75)] {
        let Imported { taken, manifest, .. } = imported(&of(mean, std), &Options::default());
        assert_eq!(manifest.normalise, MeanStd { mean: [0.5; 3], std: [0.25; 3] });
        assert_eq!(taken.unused, ["norm.pixel_mean", "norm.pixel_std"]);
        assert!(taken.remarks[0].contains("by its own `norm.pixel_mean`"), "{:?}", taken.remarks);
        assert!(taken.remarks[0].contains("not as usual"), "{:?}", taken.remarks);
    }
    // What is asked for goes first, and the difference is said.
    let given = MeanStd { mean: [0.4; 3], std: [0.25; 3] };
    let options = Options { normalise: Some(given), ..Options::default() };
    let Imported { taken, manifest, .. } = imported(&of(0.5, 0.25), &options);
    assert_eq!(manifest.normalise, given);
    assert!(taken.remarks[0].contains("[0.5, 0.5, 0.5]") && taken.remarks[0].contains("[0.4, 0.4, 0.4]"));
    assert!(imported(&of(0.4, 0.25), &options).taken.remarks.is_empty());
}

#[test]
fn a_classifier_may_have_another_name() {
    let (at, file) = exported("resnet8", 4, 16);
    let net = tensors(&file);
    let renamed = |prefix: &str, classifier: &str| {
        let rename = |name: &str| match name.strip_prefix("fc.") {
            Some(leaf) => format!("{classifier}.{leaf}"),
            None => format!("{prefix}{name}"),
        };
        let tensors: Tensors = named(&net, "", 1.0).into_iter().map(|(n, s, v)| (rename(&n), s, v)).collect();
        let file = at.path().join("renamed.safetensors");
        write(&file, &tensors);
        file
    };
    for (prefix, classifier) in
        [("", "fc.1"), ("", "head"), ("backbone.", "head.fc"), ("model.", "model.classifier")]
    {
        let out = tempfile::tempdir().unwrap();
        let run = out.path().join("x");
        let Imported { taken, .. } = import(&renamed(prefix, classifier), &Options::default(), &run).unwrap();
        assert!(!taken.new_classifier);
        let called = classifier.trim_start_matches("model.");
        assert_eq!(taken.remarks, [format!("Its classifier is called `{called}`.")]);
        let found = tensors(Trained::open(&run, false).unwrap().model_file().path());
        let fc = |of: &Tensors| of.iter().find(|t| t.0 == "fc.weight").unwrap().2.clone();
        assert_eq!(fc(&found), fc(&net));
    }
    // No classifier by its name.
    let message = fails(&renamed("", "gate"), &Options::default());
    assert!(
        message.contains("no classifier (`fc.weight`), but 2 tensors (gate.bias, gate.weight)"),
        "{message}"
    );
}

#[test]
fn a_projection_head_gives_way_to_a_new_classifier() {
    let (at, file) = exported("resnet8", 4, 16);
    let mut net = tensors(&file);
    net.retain(|(n, ..)| !n.starts_with("fc."));
    let more: &[(&str, &[usize], f32)] = &[
        ("encoder_q.fc.0.weight", &[16, 16], 1.0),
        ("encoder_q.fc.2.weight", &[8, 16], 1.0),
        ("queue", &[8, 64], 1.0),
        ("head.last_layer.weight_g", &[3, 1], 1.0),
    ];
    let mut both = named(&net, "encoder_q.", 1.0);
    both.extend(named(&net, "encoder_k.", 0.5));
    let file = beside(at.path(), &both, "", more);
    let key = Some("encoder_q".to_owned());
    let message = fails(&file, &Options { key: key.clone(), ..Options::default() });
    assert!(message.contains("fc.0.weight") && message.contains("--classes"), "{message}");
    let classes = Some(["a", "b"].map(str::to_owned).to_vec());
    let Imported { taken, .. } = imported(&file, &Options { key, classes, ..Options::default() });
    assert!(taken.new_classifier);
    assert_eq!(taken.others, ["encoder_k"]);
    assert_eq!(taken.unused, ["queue", "fc.0.weight", "fc.2.weight", "head.last_layer.weight_g"]);
}

#[test]
fn modules_around_modules_are_no_part_of_names() {
    let (at, file) = exported("resnet8", 4, 16);
    let net = named(&tensors(&file), "", 1.0);
    let rename = |name: &str| {
        let inner = name.replace("layer1.", "layer1._orig_mod.");
        format!("_orig_mod.module.{}", inner.replace("layer2.0.", "layer2.0._checkpoint_wrapped_module."))
    };
    let wrapped: Tensors = net.iter().map(|(n, s, v)| (rename(n), s.clone(), v.clone())).collect();
    let other = at.path().join("wrapped.safetensors");
    write(&other, &wrapped);
    assert_eq!(imported(&other, &Options::default()).taken.tensors, net.len());
}
