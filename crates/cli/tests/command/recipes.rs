//! Recipes as they are listed and shown; completions and manual pages.

use crate::common::{fails, ok, output, text};
use serde_json::Value;
use std::fs;
use std::process::Command;

#[test]
fn recipes_are_listed_and_shown() {
    let at = tempfile::tempdir().unwrap();
    let list = ok(at.path(), &["recipes"]);
    for b in mlaan::recipe::builtin() {
        assert!(list.contains(b.name), "{list}");
        assert_eq!(ok(at.path(), &["recipes", "--show", b.name]).trim(), b.text.trim());
    }
    assert!(list.lines().all(|l| l.chars().count() <= 130), "{list}");
    let json: Value = serde_json::from_str(&ok(at.path(), &["recipes", "--json"])).unwrap();
    let names: Vec<&str> =
        json["recipes"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"quickstart") && names.contains(&"dgl-star-resnet110-55"), "{names:?}");
    assert!(fails(at.path(), &["recipes", "--show", "quikstart"]).contains("Did you mean quickstart"));
}

#[test]
fn what_is_shown_can_be_used_as_a_file() {
    let at = tempfile::tempdir().unwrap();
    for name in ["quickstart", "mlaan-released+resnet32-8+svhn", "dgl-resnet20-10"] {
        let shown = ok(at.path(), &["recipes", "--show", name]);
        fs::write(at.path().join("mine.toml"), &shown).unwrap();
        let mine = ok(at.path(), &["recipes", "--show", "mine.toml", "--resolve"]);
        let named = ok(at.path(), &["recipes", "--show", name, "--resolve"]);
        let keys =
            |text: &str| text.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(keys(&mine), keys(&named), "{name}");
        assert!(!mine.contains("extends") && mine.contains("weight_decay = 0.0001"), "{mine}");
        if name != "quickstart" {
            assert!(shown.contains("# Planned: ") && shown.contains("extends = ["), "{shown}");
        }
    }
    let shown = ok(at.path(), &["recipes", "--show", "mlaan-paper+resnet32-16+svhn"]);
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    let shown = shown.replace("\n# ", " ");
    assert!(shown.contains(" The paper: test error 2.82 %. MLAAN (Zhang et al., AAAI 2025"), "{shown}");
    assert!(shown.contains("400 epochs of 73,257 images take "), "{shown}");
    assert!(
        ok(at.path(), &["recipes", "--show", "dgl-resnet20-10"])
            .contains("# The paper has no result for it.")
    );
    assert!(ok(at.path(), &["plan", "mine.toml"]).contains("mine.toml: resnet20"));
    assert!(fails(at.path(), &["recipes", "--show", "mine.toml"]).contains("is a file"));
    fs::write(at.path().join("over.toml"), "extends = \"mine.toml\"\nlocal.modules = 2").unwrap();
    assert!(ok(at.path(), &["plan", "over.toml"]).contains("2 modules"));
    assert!(ok(at.path(), &["plan", "over.toml+stl10"]).contains("96x96"));
}

#[test]
fn keys_are_listed_with_type_default_and_meaning() {
    let at = tempfile::tempdir().unwrap();
    let keys = ok(at.path(), &["recipes", "--schema"]);
    assert!(mlaan::recipe::KEYS.iter().all(|k| keys.contains(k.path)), "{keys}");
    let line = keys.lines().find(|l| l.contains("train.epochs")).unwrap();
    assert!(
        line.contains("400") && line.contains("passes over the training images (a whole number"),
        "{line}"
    );
    assert_eq!(ok(at.path(), &["recipes", "--keys"]), keys);
    let json: Value = serde_json::from_str(&ok(at.path(), &["recipes", "--schema", "--json"])).unwrap();
    assert_eq!(json, mlaan::recipe::json_schema());
}

#[test]
fn completions_know_commands_flags_and_recipes() {
    let at = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = ok(at.path(), &["completions", shell]);
        for word in ["train", "recipes", "completions", "resume"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
        if shell == "bash" {
            assert!(script.contains("mlaan-released-resnet110-55"), "{script}");
            checked_by_bash(at.path(), &script);
        }
    }
    assert_eq!(output(at.path(), &["completions", "cmd"]).status.code(), Some(2));
}

/// Runs the script, and asks it for what follows `mlaan tr` and `mlaan plan quick`.
fn checked_by_bash(at: &std::path::Path, script: &str) {
    let file = at.join("mlaan.bash");
    fs::write(&file, script).unwrap();
    let ask =
        "source \"$1\"; COMP_WORDS=(mlaan tr); COMP_CWORD=1; _mlaan mlaan tr mlaan; echo \"${COMPREPLY[@]}\"
        COMP_WORDS=(mlaan plan quick); COMP_CWORD=2; _mlaan mlaan quick plan; echo \"${COMPREPLY[@]}\"";
    let Ok(out) = Command::new("bash").args(["-c", ask, "bash"]).arg(&file).output() else {
        return eprintln!("SKIPPED: there is no bash to try completions in");
    };
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(text(&out.stdout), "train\nquickstart\n", "{}", text(&out.stderr));
}

#[test]
fn every_command_has_a_manual_page() {
    let at = tempfile::tempdir().unwrap();
    ok(at.path(), &["man", "--out", "pages"]);
    let help = ok(at.path(), &["--help"]);
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|l| !l.starts_with("Commands:"))
        .skip(1)
        .take_while(|l| !l.is_empty())
        .filter_map(|l| l.strip_prefix("  ")?.split_whitespace().next().filter(|_| !l.starts_with("   ")))
        .collect();
    assert!(commands.len() >= 9 && commands.contains(&"completions"), "{commands:?}");
    for command in commands.iter().filter(|c| **c != "help") {
        let page = fs::read_to_string(at.path().join(format!("pages/mlaan-{command}.1"))).unwrap();
        assert!(page.contains(".SH NAME") && page.contains(".SH OPTIONS"), "{command}: {page}");
        assert_eq!(ok(at.path(), &["man", command]).trim(), page.trim(), "{command}");
    }
    let page = fs::read_to_string(at.path().join("pages/mlaan.1")).unwrap();
    assert!(page.contains("mlaan\\-train(1)"), "{page}");
    assert_eq!(ok(at.path(), &["man"]).trim(), page.trim());
    assert!(fails(at.path(), &["man", "fly"]).contains("there are train"));
    let nested = fs::read_to_string(at.path().join("pages/mlaan-data-inspect.1")).unwrap();
    for words in [&["data-inspect"][..], &["data", "inspect"]] {
        assert_eq!(ok(at.path(), &[&["man"], words].concat()).trim(), nested.trim(), "{words:?}");
    }
    assert!(fails(at.path(), &["man", "data", "fly"]).contains("there are inspect, download"));
    fs::write(at.path().join("file"), "").unwrap();
    assert!(fails(at.path(), &["man", "--out", "file"]).contains("cannot be created"));
}
