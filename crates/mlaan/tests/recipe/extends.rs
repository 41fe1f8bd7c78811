//! Recipes that extend others: what wins, what is dropped, and where mistakes are said to be.

use mlaan::recipe::{KEYS, Recipe};
use std::path::Path;

/// Writes files into a new folder.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn load(folder: &Path, name: &str) -> mlaan::Result<Recipe> {
    Recipe::load(folder.join(name).to_str().unwrap())
}

fn refused(folder: &Path, name: &str) -> String {
    load(folder, name).unwrap_err().to_string()
}

#[test]
fn own_keys_win_and_tables_merge() {
    let text = "extends = \"mlaan-paper-resnet32-16\"\ntrain.lr = 0.1\n[local.cascade]\nspan = 2\n";
    let r = Recipe::parse(text, "mine").unwrap();
    let base = Recipe::load("mlaan-paper-resnet32-16").unwrap();
    let cascade = r.local.cascade.as_ref().unwrap();
    assert_eq!((cascade.span, cascade.independent), (2, 0.5));
    let mut expected = base;
    expected.set_all(["train.lr=0.1", "local.cascade.span=2"]).unwrap();
    assert_eq!(r, expected);
    let written = r.to_toml().unwrap();
    assert!(!written.contains("extends"), "{written}");
    assert_eq!(Recipe::parse(&written, "again").unwrap().to_toml().unwrap(), written);
}

#[test]
fn inherited_tables_and_keys_are_dropped_as_set_drops_them() {
    for word in ["none", "off"] {
        let text = format!(
            "extends = \"mlaan-paper-resnet32-16\"\n[local]\nleap = \"{word}\"\ncascade = \"{word}\"\n\
             [train]\nlr_batch = \"{word}\""
        );
        let r = Recipe::parse(&text, "mine").unwrap();
        let sets =
            [format!("local.leap={word}"), format!("local.cascade={word}"), format!("train.lr_batch={word}")];
        assert_eq!(r, Recipe::compose(&["mlaan-paper-resnet32-16"], sets).unwrap());
        assert!(r.local.leap.is_none() && r.train.lr_batch.is_none());
    }
    // `on` gives the defaults, as `--set` does.
    let text = "extends = \"mlaan-paper-resnet32-16\"\nlocal.cascade = \"on\"";
    let expected = Recipe::compose(&["mlaan-paper-resnet32-16"], ["local.cascade=on"]).unwrap();
    assert_eq!(Recipe::parse(text, "mine").unwrap(), expected);
    // Inside a table that `--set` gives whole, too.
    let mut r = Recipe::default();
    r.set_all(["local.modules=4", "local.leap={sources=\"none\", ema=0.5}"]).unwrap();
    assert_eq!(r.local.leap.unwrap().ema, 0.5);
}

#[test]
fn what_must_be_there_cannot_be_dropped() {
    for (text, word) in [
        ("extends = \"quickstart\"\ntrain.epochs = \"none\"", "train.epochs"),
        ("extends = \"quickstart\"\ntrain = \"none\"", "expected a table"),
        ("extends = \"quickstart\"\ntrain.epochs = \"on\"", "whole number"),
    ] {
        let e = Recipe::parse(text, "my.toml").unwrap_err().to_string();
        assert!(e.contains(word) && e.contains("my.toml, line 2"), "{e}");
    }
}

#[test]
fn paths_count_from_the_file_that_says_them() {
    let at = folder(&[
        ("a.toml", "extends = \"sub/b.toml\"\ntrain.batch = 7"),
        ("sub/b.toml", "extends = \"../c.toml\"\ntrain.batch = 6\ntrain.epochs = 6"),
        ("c.toml", "extends = \"quickstart\"\nseed = 9\ntrain.batch = 5\ntrain.epochs = 5"),
    ]);
    let r = load(at.path(), "a.toml").unwrap();
    assert_eq!((r.train.batch, r.train.epochs, r.seed), (7, 6, 9));
    assert_eq!(r.model.backbone.depth(), 8);
}

#[test]
fn of_several_the_later_win() {
    let at = folder(&[
        ("a.toml", "seed = 1\ntrain.epochs = 1\ntrain.batch = 1"),
        ("b.toml", "seed = 2\ntrain.epochs = 2"),
        ("both.toml", "extends = [\"a.toml\", \"b.toml\"]\nseed = 3"),
    ]);
    let r = load(at.path(), "both.toml").unwrap();
    assert_eq!((r.seed, r.train.epochs, r.train.batch), (3, 2, 1));
    let joined = format!("{}+{}", at.path().join("a.toml").display(), at.path().join("b.toml").display());
    let r = Recipe::load(&joined).unwrap();
    assert_eq!((r.seed, r.train.epochs, r.train.batch), (2, 2, 1));
    // The same one twice is no cycle.
    let two = folder(&[
        ("base.toml", "seed = 4"),
        ("l.toml", "extends = \"base.toml\""),
        ("r.toml", "extends = \"base.toml\"\nseed = 5"),
        ("top.toml", "extends = [\"r.toml\", \"l.toml\"]"),
    ]);
    assert_eq!(load(two.path(), "top.toml").unwrap().seed, 4);
    // A file may have a + in its name.
    let plus = folder(&[("a+b.toml", "seed = 6")]);
    assert_eq!(load(plus.path(), "a+b.toml").unwrap().seed, 6);
}

#[test]
fn cycles_and_endless_chains_name_who_extends_whom() {
    let at = folder(&[
        ("a.toml", "seed = 1\nextends = \"b.toml\""),
        ("b.toml", "extends = \"c.toml\""),
        ("c.toml", "extends = \"b.toml\""),
        ("self.toml", "extends = \"./self.toml\""),
    ]);
    let e = refused(at.path(), "a.toml");
    let order: Vec<_> = ["extend itself", "b.toml -> ", "c.toml -> ", "b.toml (", "c.toml, line 1"]
        .iter()
        .map(|word| e.find(word).unwrap_or_else(|| panic!("{word}: {e}")))
        .collect();
    assert!(order.is_sorted(), "{e}");
    assert!(!e.contains("a.toml"), "{e}");
    assert!(refused(at.path(), "self.toml").contains("self.toml -> "));

    let chain: Vec<(String, String)> =
        (0..40).map(|i| (format!("{i}.toml"), format!("extends = \"{}.toml\"", i + 1))).collect();
    let chain: Vec<(&str, &str)> = chain.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let at = folder(&chain);
    let e = refused(at.path(), "0.toml");
    assert!(
        e.contains("more than 16")
            && e.contains("0.toml -> ")
            && e.contains("16.toml (")
            && !e.contains("20.toml"),
        "{e}"
    );
}

#[test]
fn a_tower_of_lists_ends_with_an_error() {
    let tower: Vec<(String, String)> = (0..15)
        .map(|i| (format!("{i}.toml"), format!("extends = [\"{0}.toml\", \"{0}.toml\"]", i + 1)))
        .collect();
    let mut tower: Vec<(&str, &str)> = tower.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    tower.push(("15.toml", "seed = 1"));
    let e = refused(folder(&tower).path(), "0.toml");
    assert!(e.contains("more than 128"), "{e}");
}

#[test]
fn errors_point_to_the_file_that_wrote_the_key() {
    let at = folder(&[
        ("base.toml", "[train]\nepochs = 2\n\n[local]\nmodules = 4\n[local.leap]\nema = 0.9"),
        ("wrong.toml", "seed = 1\n\ntrain.epochs = 0"),
        ("top.toml", "extends = \"wrong.toml\"\nseed = 2"),
        ("alone.toml", "extends = \"base.toml\"\nlocal.modules = 1"),
        ("syntax.toml", "seed = = 1"),
        ("over.toml", "extends = \"syntax.toml\""),
        ("unknown.toml", "seed = 1\n\nextends = \"mlaan-papr-resnet32-16\""),
        ("missing.toml", "extends = [\"quickstart\", \"mising.toml\"]"),
        ("number.toml", "extends = 3"),
        ("numbers.toml", "extends = [\"quickstart\", 3]"),
        ("folder.toml", "extends = \".\""),
    ]);
    let e = refused(at.path(), "top.toml");
    assert!(e.contains("wrong.toml, line 3") && !e.contains("top.toml"), "{e}");
    // A rule between keys of two files: the table stands in one, and the other is told, too.
    let e = refused(at.path(), "alone.toml");
    assert!(e.contains("base.toml, line 6") && e.contains("used by") && e.contains("alone.toml"), "{e}");
    assert!(refused(at.path(), "over.toml").contains("syntax.toml, line 1, column 8"));
    let e = refused(at.path(), "unknown.toml");
    assert!(e.contains("Did you mean mlaan-paper-resnet32-16") && e.contains("unknown.toml, line 3"), "{e}");
    let e = refused(at.path(), "missing.toml");
    assert!(e.contains("mising.toml: neither") && e.contains("missing.toml, line 1"), "{e}");
    assert!(refused(at.path(), "number.toml").contains("found 3, expected the name"));
    assert!(refused(at.path(), "numbers.toml").contains("expected the name"));
    assert!(refused(at.path(), "folder.toml").contains("this is a folder"));
}

#[test]
fn names_are_joined_by_plus_and_built_in_ones_extend_no_files() {
    let r = Recipe::compose(&["mlaan-paper-resnet32-16", "quickstart"], ["seed=3"]).unwrap();
    assert_eq!((r.model.backbone.depth(), r.seed), (8, 3));
    assert!(Recipe::compose(&["quickstart"], ["seed=x"]).is_err());
    let e = Recipe::load("quickstart+nothing-like-it").unwrap_err().to_string();
    assert!(e.starts_with("nothing-like-it: neither"), "{e}");
    assert!(Recipe::load("quickstart+").is_err());
}

#[test]
fn extends_is_told_apart_from_keys() {
    assert!(KEYS.iter().all(|k| k.path != "extends"));
    let e = Recipe::default().set("extends=quickstart").unwrap_err().to_string();
    assert!(e.contains("with + between"), "{e}");
    let e = Recipe::parse("extend = \"quickstart\"", "t").unwrap_err().to_string();
    assert!(e.contains("did you mean `extends`"), "{e}");
    let e = Recipe::parse("train.extends = \"quickstart\"", "t").unwrap_err().to_string();
    assert!(e.contains("train.extends"), "{e}");
}
