//! `mlaan audit`: what it shows, writes and refuses.

use crate::common::{fails, ok, output};
use serde_json::Value;

const SMALL: &[&str] = &["--set", "model.width=4", "data.size=16", "local.hidden=8", "--threads", "1"];

fn audit(at: &std::path::Path, more: &[&str]) -> String {
    ok(at, &[&["audit"], more, SMALL].concat())
}

#[test]
fn a_matrix_of_losses_by_modules() {
    let at = tempfile::tempdir().unwrap();
    let shown = audit(at.path(), &["quickstart"]);
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    assert!(shown.contains(" 1 cascaded          ##..  .           #"), "{shown}");
    assert!(shown.contains(" 2 independent       ..#.  .           #, 2 by EMA"), "{shown}");
    assert!(shown.contains("\n n by EMA  n auxiliary networks whose mirrors follow"), "{shown}");
    assert!(shown.contains("should not (7 losses, each checked alone)"), "{shown}");
    let bp = audit(at.path(), &["bp-resnet20"]);
    assert!(bp.contains(" 0 classifier        #  #           .") && bp.contains("(1 loss,"), "{bp}");
    assert!(!bp.contains("EMA"), "{bp}");
}

#[test]
fn numbers_of_modules_are_read_downwards() {
    let at = tempfile::tempdir().unwrap();
    let shown = audit(at.path(), &["dgl-resnet32-16"]);
    let lines: Vec<&str> = shown.lines().collect();
    let units = lines.iter().position(|l| l.starts_with(" loss")).unwrap();
    assert!(lines[units].contains(" 0123456789012345  classifier"), "{shown}");
    assert_eq!(lines[units - 1].trim(), "111111");
    assert_eq!(lines[units - 1].find("111111"), lines[units].find("012345678901").map(|at| at + 10));
}

#[test]
fn programs_and_reports_have_it_too() {
    let at = tempfile::tempdir().unwrap();
    let said: Value =
        serde_json::from_str(&audit(at.path(), &["quickstart", "--out", "runs/mine", "--json"])).unwrap();
    assert_eq!(said["modules"], 4);
    assert_eq!(said["rows"].as_array().unwrap().len(), 7);
    let written = std::fs::read_to_string(at.path().join("runs/mine/audit.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), said);
    let report = ok(at.path(), &["report", "runs", "--out", "page.html"]);
    assert!(report.contains("1 audit"), "{report}");
    let page = std::fs::read_to_string(at.path().join("page.html")).unwrap();
    for words in ["Audit of mine", "No gradient crosses a cut that it should not.", "own, 2 by EMA", "0–1"]
    {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn a_run_is_audited_by_its_own_recipe_and_no_other_beside_it() {
    fn with<'a>(command: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
        let small =
            ["data.size=16", "local.hidden=8", "train.warmup=0", "model.backbone=resnet8", "model.width=4"];
        [command, &["--set"], &small, more].concat()
    }
    let at = tempfile::tempdir().unwrap();
    let begins = ["--epochs", "1", "--batch", "20", "--limit", "40", "--threads", "1"];
    // Cuts that the run chose for itself, with its batch and its precision.
    let more = ["local.modules=3", "local.balance=true", "train.freeze=[\"stem\"]"];
    ok(at.path(), &[&with(&["train", "dgl-resnet32-16", "--out", "run"], &more)[..], &begins].concat());
    let audited = |args: &[&str]| -> Value {
        serde_json::from_str(&ok(at.path(), &[&["audit"], args, &["--json", "--threads", "1"]].concat()))
            .unwrap()
    };
    let shown = ok(at.path(), &["audit", "run", "--out", "run", "--threads", "1"]);
    assert!(shown.contains(" written  run/audit.json"), "{shown}");
    let own = audited(&["run", "--out", "run"]);
    assert_eq!((own["modules"].as_u64(), at.path().join("run/audit.json").is_file()), (Some(3), true));
    assert!(!own["rows"][0]["parts"].as_array().unwrap().is_empty());
    let named: Vec<&str> = with(&["dgl-resnet32-16", "--out", "run"], &more).into_iter().collect();
    assert_eq!(audited(&named), own, "the recipe that the run was begun with");
    for (other, key) in [
        (&["mlaan-released-resnet32-16", "--out", "run"][..], "local.head"),
        (&["run", "--out", "run", "--set", "model.width=8"], "model.width is 4, not 8"),
        (&["run", "--out", "run", "--freeze", "none"], "train.freeze"),
    ] {
        let said = fails(at.path(), &[&["audit"], other].concat());
        assert!(said.contains("another network or method") && said.contains(key), "{said}");
        assert!(said.contains("give `mlaan audit run --out run`"), "{said}");
    }
    let written = std::fs::read(at.path().join("run/audit.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), own, "no other was left there");
    // What an audit would not look at is no flag of its own.
    for flag in ["--optimizer=adamw", "--lr=1", "--precision=bf16", "--validation=0.1"] {
        assert_eq!(output(at.path(), &["audit", flag]).status.code(), Some(2), "{flag}");
    }
    std::fs::create_dir(at.path().join("empty")).unwrap();
    assert!(fails(at.path(), &["audit", "empty"]).contains("this folder holds no run"));
}

#[test]
fn what_cannot_be_is_said() {
    let at = tempfile::tempdir().unwrap();
    std::fs::write(at.path().join("file"), "").unwrap();
    let message = fails(at.path(), &[&["audit", "--out", "file/in"], SMALL].concat());
    assert!(message.contains("file/in"), "{message}");
    assert!(fails(at.path(), &["audit", "nothing"]).contains("nothing"));
}
