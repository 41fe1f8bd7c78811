//! `python/mlaan/_core.pyi` is what the macros of pyo3 say of the compiled part: types, signatures and docstrings. Where it is not,
//! `MLAAN_WRITE_STUBS=1 cargo test -p mlaan-python` writes it.
#![allow(clippy::unwrap_used)]

use pyo3_introspection::{introspect_cdylib, module_stub_files};
use std::path::Path;
use std::process::Command;

/// Nothing but this test asks for the library, so nothing else builds it. With the same selection as `cargo test --workspace` all
/// that it is made of is there already.
fn build(target: &Path, profile: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--workspace", "--lib", "--tests", "--target-dir"]).arg(target);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    // What cargo tells a test of its package would be news to build scripts that look at it: ring's, behind which nearly all is
    // built again, and once more by the next call.
    let of_package = ["CARGO_PKG_", "CARGO_MANIFEST_"];
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| of_package.iter().any(|prefix| name.starts_with(prefix))) {
            cargo.env_remove(name);
        }
    }
    assert!(cargo.status().unwrap().success(), "the compiled part cannot be built");
}

#[test]
fn the_stub_is_generated() {
    // Beside the test's own folder.
    let test = std::env::current_exe().unwrap();
    let built = test.parent().and_then(Path::parent).unwrap();
    build(built.parent().unwrap(), built);
    let library = format!("{}_core{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let module = introspect_cdylib(built.join(library), "_core").unwrap();
    let mut files = module_stub_files(&module);
    let made = files.remove(Path::new("__init__.pyi")).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/mlaan/_core.pyi");
    if std::env::var_os("MLAAN_WRITE_STUBS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(
        kept == made,
        "python/mlaan/_core.pyi is not what the compiled part says: MLAAN_WRITE_STUBS=1 cargo test -p mlaan-python writes it\n{made}"
    );
}
