//! Learning rates and warm-ups in layers of recipes: what was set holds, what was inherited follows.

use mlaan::compare::Suite;
use mlaan::recipe::{Recipe, Train};
use std::path::Path;

/// CIFAR-10 as the paper has it: 0.8 at batch 1024, warm-up of 10 epochs of 400.
const PAPER: &str = "bp-resnet32";

fn with(sets: &[&[&str]]) -> mlaan::Result<Train> {
    let mut recipe = Recipe::load(PAPER)?;
    sets.iter().try_for_each(|set| recipe.set_all(*set))?;
    Ok(recipe.train)
}

fn parsed(text: &str) -> mlaan::Result<Train> {
    Recipe::parse(text, "mine.toml").map(|r| r.train)
}

fn rate(train: &Train) -> (f64, Option<usize>) {
    (train.lr, train.lr_batch)
}

#[test]
fn a_rate_that_is_set_drops_the_batch_that_another_was_meant_for() {
    assert_eq!(rate(&with(&[]).unwrap()), (0.8, Some(1024)));
    for sets in [
        &[&["train.lr=0.01"][..]][..],
        &[&["train.batch=8", "train.lr=0.01"]],
        &[&["train.lr_batch=512"], &["train.lr = 0.01"]],
        &[&["train.lr_batch=none", "train.lr=0.01"]],
        &[&["train.lr=0.5", "train.lr_batch=64"], &["train.lr=0.01"], &["train.batch=8"]],
    ] {
        assert_eq!(rate(&with(sets).unwrap()), (0.01, None), "{sets:?}");
    }
    // Where both are set, in any order, or neither, they stay.
    for (set, expected) in [
        (&["train.lr=0.01", "train.lr_batch=256"][..], (0.01, Some(256))),
        (&["train.lr_batch=256", "train.lr=0.01"], (0.01, Some(256))),
        (&["train.lr_batch=256"], (0.8, Some(256))),
        (&["train.batch=8"], (0.8, Some(1024))),
    ] {
        assert_eq!(rate(&with(&[set]).unwrap()), expected, "{set:?}");
    }
    let mut recipe = Recipe::load(PAPER).unwrap();
    recipe.set("train.lr=0.02").unwrap();
    assert_eq!(rate(&recipe.train), (0.02, None));
    let mut recipe = Recipe::load(PAPER).unwrap();
    recipe.set_lr(1e-7).unwrap();
    assert_eq!(rate(&recipe.train), (1e-7, None));
    assert!(recipe.set_lr(f64::NAN).is_err() && recipe.set_lr(-1.0).is_err());
    assert_eq!(rate(&recipe.train), (1e-7, None));
    recipe.set("train={lr=0.3, lr_batch=64}").unwrap();
    assert_eq!(rate(&recipe.train), (0.3, Some(64)));
    recipe.set("train={lr=0.3}").unwrap();
    assert_eq!(rate(&recipe.train), (0.3, None));
}

#[test]
fn files_and_parts_are_layers_too() {
    for (text, expected) in [
        ("extends = \"bp-resnet32\"\ntrain.lr = 0.01", (0.01, None)),
        ("extends = \"bp-resnet32\"\n[train]\nlr = 0.01\nlr_batch = 64", (0.01, Some(64))),
        ("extends = \"bp-resnet32\"\ntrain.batch = 8", (0.8, Some(1024))),
        // The data set is stronger than what it is laid over.
        ("extends = [\"quickstart\", \"bp-resnet32\"]", (0.8, Some(1024))),
        ("extends = [\"bp-resnet32\", \"quickstart\"]", (0.1, None)),
        ("extends = \"bp-resnet32+stl10\"", (0.1, Some(128))),
    ] {
        assert_eq!(rate(&parsed(text).unwrap()), expected, "{text}");
    }
    let at = tempfile::tempdir().unwrap();
    let base = at.path().join("base.toml");
    std::fs::write(&base, "extends = \"bp-resnet32\"\n[train]\nlr = 0.4\nlr_batch = 256").unwrap();
    std::fs::write(at.path().join("top.toml"), "extends = \"base.toml\"\ntrain.lr = 0.01").unwrap();
    let load = |name: &str| Recipe::load(&at.path().join(name).display().to_string()).unwrap().train;
    assert_eq!((rate(&load("base.toml")), rate(&load("top.toml"))), ((0.4, Some(256)), (0.01, None)));
    let joined = Recipe::load(&format!("{}+svhn", base.display())).unwrap();
    assert_eq!(rate(&joined.train), (0.8, Some(1024)));
}

#[test]
fn every_list_of_a_suite_is_a_layer() {
    let cell = |suite: &str, column: &str, row: &str, changes: &[&str]| {
        let text = format!(
            "title = \"t\"\nset = [{suite}]\ncolumns = [{{ network = \"resnet20\", set = [{column}] }}]\n\
             rows = [{{ name = \"bp\", recipe = \"bp-resnet32\", set = [{row}] }}]"
        );
        let changes: Vec<String> = changes.iter().map(|c| (*c).to_owned()).collect();
        let table = Suite::parse(&text, "s", "s", Path::new("")).unwrap().table(&changes)?;
        Ok::<_, mlaan::Error>(table.cells[0].recipe.train.clone())
    };
    let own = "\"train.lr=0.01\"";
    let both = "\"train.lr=0.1\", \"train.lr_batch=128\"";
    for (suite, column, row, changes, expected) in [
        ("", "", "", &[][..], (0.8, Some(1024))),
        (own, "", "", &[], (0.01, None)),
        ("", own, "", &[], (0.01, None)),
        ("", "", own, &[], (0.01, None)),
        (both, "", "", &["train.lr=0.01"], (0.01, None)),
        (both, own, "", &[], (0.01, None)),
        (own, "", both, &["train.batch=8"], (0.1, Some(128))),
    ] {
        let found = cell(suite, column, row, changes).unwrap();
        assert_eq!(rate(&found), expected, "{suite}; {column}; {row}; {changes:?}");
    }
    let e = cell("", "", "\"train.lr_auxiliary=0.1\"", &[]).unwrap_err().to_string();
    assert!(e.contains("train.lr_auxiliary") && e.contains("cell bp"), "{e}");
}

#[test]
fn rates_of_one_recipe_are_meant_for_one_batch() {
    // A rate of one's own beside an inherited one would be scaled with it, or the other not any more.
    for set in [
        &["train.lr_auxiliary=0.1"][..],
        &["train.lr_cascaded=0.1"],
        &["train.lr_cascaded=0.1", "train.lr_auxiliary=0.1", "train.batch=8"],
    ] {
        let e = with(&[set]).unwrap_err().to_string();
        for part in ["train.lr = 0.8", "batch 1024", "train.lr_batch = 1024"] {
            assert!(e.contains(part), "{set:?}: {e}");
        }
    }
    let e = parsed("extends = \"bp-resnet32\"\ntrain.lr_cascaded = 0.1").unwrap_err().to_string();
    assert!(e.contains("train.lr_cascaded") && e.contains("mine.toml, line 2"), "{e}");
    let whole: &[&str] = &["train.lr_auxiliary=0.4", "train.lr_batch=1024"];
    let train = with(&[whole]).unwrap();
    assert_eq!((rate(&train), train.lr_auxiliary), ((0.8, Some(1024)), Some(0.4)));
    let e = with(&[whole, &["train.lr=0.01"]]).unwrap_err().to_string();
    assert!(e.contains("train.lr_auxiliary = 0.4"), "{e}");
    let train = with(&[whole, &["train.lr=0.01", "train.lr_auxiliary=none"]]).unwrap();
    assert_eq!((rate(&train), train.lr_auxiliary), ((0.01, None), None));
    let train = with(&[&["train.lr=0.02", "train.lr_auxiliary=0.01"]]).unwrap();
    assert_eq!((rate(&train), train.lr_auxiliary), ((0.02, None), Some(0.01)));
    // What is not meant for a batch is nobody's concern.
    let train = with(&[&["train.lr=0.02"], &["train.lr_auxiliary=0.01"]]).unwrap();
    assert_eq!((rate(&train), train.lr_auxiliary), ((0.02, None), Some(0.01)));
}

#[test]
fn a_warm_up_that_is_set_is_taken_or_refused() {
    let used = |sets: &[&[&str]]| with(sets).map(|t| t.warmup_used());
    for (sets, expected) in [
        (&[][..], 10),
        // Inherited: a fifth at most.
        (&[&["train.epochs=15"][..]], 3),
        (&[&["train.epochs=3"]], 0),
        (&[&["train.warmup=5"], &["train.epochs=6"]], 1),
        // Set for this run.
        (&[&["train.warmup=5", "train.epochs=6"]], 5),
        (&[&["train.epochs=6", "train.warmup=5"]], 5),
        (&[&["train.epochs=6"], &["train.warmup=6"]], 6),
        (&[&["train.warmup=3"]], 3),
        (&[&["train.warmup=10", "train.epochs=15", "train.full_warmup=none"]], 3),
        // What was set for a run holds in a longer one, and in a shorter one is inherited.
        (&[&["train.warmup=5", "train.epochs=6"], &["train.epochs=8"]], 5),
        (&[&["train.warmup=5", "train.epochs=6"], &["train.epochs=5"]], 1),
    ] {
        assert_eq!(used(sets).unwrap(), expected, "{sets:?}");
    }
    let e = used(&[&["train.warmup=8", "train.epochs=6"]]).unwrap_err().to_string();
    assert!(e.contains("train.warmup") && e.contains("8 epochs") && e.contains("train.epochs = 6"), "{e}");
    let text = "extends = \"bp-resnet32\"\n[train]\nepochs = 6\nwarmup = ";
    assert_eq!(parsed(&format!("{text}5")).unwrap().warmup_used(), 5);
    let e = parsed(&format!("{text}7")).unwrap_err().to_string();
    assert!(e.contains("mine.toml, line 4"), "{e}");
}

#[test]
fn what_a_run_keeps_is_read_as_it_was() {
    // Earlier versions kept {15 epochs, warm-up 10} alone of a run that warmed up for 3.
    let mut recipe = Recipe::load(PAPER).unwrap();
    recipe.set_epochs(15).unwrap();
    let kept = recipe.to_toml().unwrap();
    assert!(kept.contains("\nwarmup = 10\n") && kept.contains("\nfull_warmup = false\n"), "{kept}");
    let earlier = kept.replace("full_warmup = false\n", "");
    let at = tempfile::tempdir().unwrap();
    let file = at.path().join("recipe.toml");
    std::fs::write(&file, &earlier).unwrap();
    let read = [Recipe::kept(&earlier, "kept"), Recipe::kept_in(&file), Recipe::kept(&kept, "kept")];
    for again in read.into_iter().chain([Recipe::parse(&kept, "mine")]) {
        let again = again.unwrap();
        assert_eq!((again.train.warmup_used(), &again.train), (3, &recipe.train));
        assert_eq!(recipe.differences(&again).unwrap(), []);
        assert_eq!(again.to_toml().unwrap(), kept);
    }
    // A whole one keeps what it says, too, and is another experiment.
    let mut whole = Recipe::load(PAPER).unwrap();
    whole.set_all(["train.epochs=15", "train.warmup=10"]).unwrap();
    let kept = Recipe::kept(&whole.to_toml().unwrap(), "kept").unwrap();
    assert_eq!((kept.train.warmup_used(), &kept.train), (10, &whole.train));
    let found = recipe.differences(&kept).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].key, "train.full_warmup");
    // More epochs for it are no other warm-up.
    let mut longer = Recipe::load(PAPER).unwrap();
    longer.set_all(["train.epochs=100", "train.warmup=10"]).unwrap();
    let keys: Vec<String> = whole.differences(&longer).unwrap().into_iter().map(|d| d.key).collect();
    assert_eq!(keys, ["train.epochs"]);
}

#[test]
fn a_whole_recipe_of_ones_own_is_a_layer_like_any_other() {
    // With every key spelt out, as `mlaan recipes --show NAME --resolve` prints it.
    let shown = Recipe::load("bp-resnet8").unwrap().to_toml().unwrap();
    let line = |key: &str| {
        let start = format!("{key} = ");
        shown.lines().find(|l| l.starts_with(&start)).unwrap().to_owned()
    };
    let edited = |epochs: usize, warmup: usize| {
        let text = shown.replace(&line("epochs"), &format!("epochs = {epochs}"));
        text.replace(&line("warmup"), &format!("warmup = {warmup}"))
    };
    assert_eq!(parsed(&shown).unwrap(), Recipe::load("bp-resnet8").unwrap().train);
    let at = tempfile::tempdir().unwrap();
    let file = at.path().join("mine.toml");
    std::fs::write(&file, edited(6, 5)).unwrap();
    let named = Recipe::load(&file.display().to_string()).unwrap();
    let read = Recipe::read(&file).unwrap();
    for train in [parsed(&edited(6, 5)).unwrap(), named.train, read.train] {
        assert_eq!((train.epochs, train.warmup_used()), (6, 5));
    }
    let e = parsed(&edited(6, 8)).unwrap_err().to_string();
    assert!(e.contains("train.warmup") && e.contains("8 epochs"), "{e}");
}

#[test]
fn a_key_of_one_file_is_none_of_another() {
    let base = "extends = \"bp-resnet32\"\nmodel.init = \"a.pth\"\nmodel.init_key = \"ema\"";
    let mut recipe = Recipe::parse(base, "mine").unwrap();
    assert_eq!(recipe.model.init_key.as_deref(), Some("ema"));
    recipe.set_all(["model.init=b.pth"]).unwrap();
    assert_eq!((recipe.model.init.as_deref(), recipe.model.init_key), (Some("b.pth"), None));
    let at = tempfile::tempdir().unwrap();
    std::fs::write(at.path().join("base.toml"), base).unwrap();
    std::fs::write(at.path().join("top.toml"), "extends = \"base.toml\"\nmodel.init = \"b.pth\"").unwrap();
    let top = Recipe::load(&at.path().join("top.toml").display().to_string()).unwrap();
    assert_eq!((top.model.init.as_deref(), top.model.init_key), (Some("b.pth"), None));
}
