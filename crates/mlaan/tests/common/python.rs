//! Python, for tests that compare with it: `MLAAN_TEST_PYTHON` names an interpreter, otherwise it is `python3`.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::panic)] // In helpers of tests a failure is a failed test.

use std::ffi::OsStr;
use std::io::Write;
use std::process::Command;

/// An interpreter with these modules; where there is none, says so, and the test is to return.
pub fn python(modules: &[&str]) -> Option<Python> {
    let program = std::env::var_os("MLAAN_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let import = format!("import {}", modules.join(", "));
    let found = Command::new(&program).args(["-c", &import]).output();
    if found.is_ok_and(|out| out.status.success()) {
        return Some(Python { program });
    }
    // Past the capture of tests' output.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: {} cannot `{import}`; MLAAN_TEST_PYTHON may name another interpreter",
        program.display()
    );
    None
}

/// An interpreter.
pub struct Python {
    program: std::ffi::OsString,
}

impl Python {
    /// Runs a script with these arguments (`sys.argv[1:]`); what it prints. It must succeed.
    pub fn run<A: AsRef<OsStr>>(&self, script: &str, arguments: &[A]) -> String {
        let out = Command::new(&self.program).arg("-c").arg(script).args(arguments).output().unwrap();
        let error = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{error}");
        String::from_utf8(out.stdout).unwrap()
    }
}
