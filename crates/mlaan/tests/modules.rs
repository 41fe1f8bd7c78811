//! No module of a crate depends on itself through others, and no file does: what one means can be read without what uses it.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "modules/graph.rs"]
mod graph;
#[path = "modules/source.rs"]
mod source;

use graph::{Edge, cycles};
use source::Sources;
use std::fs;
use std::path::{Path, PathBuf};

/// What is wrong with the crate whose sources lie in `src`: cycles between its modules, then cycles between files.
fn faults(src: &Path) -> Vec<String> {
    let edges = Sources::read(src).edges();
    let modules: Vec<Edge> = edges.iter().filter_map(Edge::between_modules).collect();
    let told = |what: &str, cycles: Vec<Vec<Edge>>| -> Vec<String> {
        cycles.iter().map(|cycle| told(what, cycle)).collect()
    };
    [told("modules", cycles(&modules)), told("files", cycles(&edges))].concat()
}

/// A cycle spelt out.
fn told(what: &str, cycle: &[Edge]) -> String {
    let lines: String = cycle.iter().map(|e| format!("  {} -> {}  ({})\n", e.from, e.to, e.by)).collect();
    format!("{what} depend on each other:\n{lines}")
}

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn acyclic(name: &str) {
    let faults = faults(&crates().join(name).join("src"));
    assert!(faults.is_empty(), "{} in crates/{name}/src:\n\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_library_has_no_cycles() {
    acyclic("mlaan");
}

#[test]
fn the_command_has_no_cycles() {
    acyclic("cli");
}

#[test]
fn the_engine_has_no_cycles() {
    acyclic("engine");
}

#[test]
fn other_crates_have_no_cycles() {
    let known = ["mlaan", "cli", "engine"];
    for entry in fs::read_dir(crates()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !known.contains(&name.as_str()) {
            acyclic(&name);
        }
    }
}

/// A crate of these files.
fn planted(files: &[(&str, &str)]) -> Vec<String> {
    let at = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = at.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    faults(at.path())
}

#[test]
fn a_cycle_through_a_re_export_is_spelt_out() {
    let found = planted(&[
        ("lib.rs", "pub mod a;\npub mod b;\nmod c;\npub use c::near;"),
        ("a/mod.rs", "mod deep;\npub use deep::{Deep, other as far};"),
        ("a/deep.rs", "use crate::b;\npub struct Deep;\npub fn other() { b::low() }"),
        ("b.rs", "use crate::{c::{self}, near};\npub fn low() { near(); c::near() }"),
        ("c.rs", "pub fn near() { println!(\"{}\", crate::a::far()) }"),
    ]);
    assert_eq!(found.len(), 2, "{found:?}");
    for line in [
        "a/deep.rs -> b.rs  (3: pub fn other() { b::low() })",
        "b.rs -> c.rs  (1: use crate::{c::{self}, near};)",
        "c.rs -> a/deep.rs  (1: pub fn near() { println!(\"{}\", crate::a::far()) })",
    ] {
        assert!(found[1].contains(line), "{}", found[1]);
    }
    assert!(found[0].contains("a -> b  (a/deep.rs:3:"), "{}", found[0]);
}

#[test]
fn a_child_depends_on_what_its_parent_defines_not_on_what_it_passes_on() {
    let lib = ("lib.rs", "mod p;\npub use p::X;");
    let child = ("p/x.rs", "use super::{Y, helper};\npub struct X(Y);\nfn f() { helper() }");
    let other = ("p/y.rs", "pub struct Y;");
    let passes = "mod x;\nmod y;\npub use x::X;\npub use y::Y;\n";
    let passing = ("p/mod.rs", passes.to_owned() + "pub fn helper() {}");
    assert_eq!(planted(&[lib, child, other, (passing.0, &passing.1)]), Vec::<String>::new());
    let using = passes.to_owned() + "pub fn helper() -> Option<X> { None }";
    let found = planted(&[lib, child, other, ("p/mod.rs", &using)]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("p/mod.rs -> p/x.rs  (3: pub use x::X;)"), "{}", found[0]);
}

#[test]
fn modules_depend_on_each_other_even_if_their_files_do_not() {
    let found = planted(&[
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "mod one;\nmod two;"),
        ("a/one.rs", "use crate::b::*;\n#[cfg(test)]\nmod tests { use crate::a::two::T; }"),
        ("a/two.rs", "pub struct T;\n#[cfg(test)]\nmod tests;"),
        ("b.rs", "pub fn f(_: crate::a::two::T) {}"),
    ]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("modules"), "{}", found[0]);
}
