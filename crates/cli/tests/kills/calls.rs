//! Calls of a program that change files, by `strace`: which there are, and a kill at one of them.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Calls that change files.
pub const CALLS: &[&str] = &[
    "openat",
    "write",
    "pwrite64",
    "writev",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "mkdir",
    "mkdirat",
    "ftruncate",
    "linkat",
];

/// A call of the main thread.
pub struct Call {
    pub name: String,
    /// Which of its name, from 1.
    pub nth: usize,
    /// How `strace` shows it.
    line: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.name, self.nth, self.line)
    }
}

/// Whether there is a `strace` that may trace.
pub fn strace() -> bool {
    let tried = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    tried.is_ok_and(|s| s.success())
}

fn run(at: &Path, log: &Path, filter: &[String], program: &str, args: &[&str]) -> std::process::ExitStatus {
    let mut command = Command::new("strace");
    command.arg("-f").arg("-o").arg(log).args(filter).arg(program).args(args);
    command.current_dir(at).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap()
}

/// The calls of these names that a program makes; of those that open files, the ones that may make one.
pub fn traced(at: &Path, program: &str, args: &[&str], names: &[&str]) -> Vec<Call> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let filter = ["-e".into(), format!("trace=execve,{}", names.join(","))];
    assert!(run(at, log.path(), &filter, program, args).success(), "{args:?}");
    let calls = of_main_thread(&fs::read_to_string(log.path()).unwrap());
    calls.into_iter().filter(|c| c.name != "openat" || c.line.contains("O_CREAT")).collect()
}

/// The main thread is the one that the log begins with: it starts the program.
fn of_main_thread(log: &str) -> Vec<Call> {
    let main = log.split_whitespace().next().unwrap_or_default();
    let lines = log.lines().filter_map(|l| l.strip_prefix(main)?.trim_start().split_once('('));
    let mut calls: Vec<Call> = Vec::new();
    for (name, rest) in lines.filter(|(name, _)| CALLS.contains(name)) {
        let nth = 1 + calls.iter().filter(|c| c.name == name).count();
        calls.push(Call { name: name.into(), nth, line: rest.into() });
    }
    calls
}

/// Kills a program when it enters the call; whether that call was its last one.
pub fn killed(at: &Path, program: &str, args: &[&str], call: &Call) -> bool {
    let log = tempfile::NamedTempFile::new().unwrap();
    let Call { name, nth, .. } = call;
    let filter = [
        "-e".into(),
        format!("trace=execve,{name}"),
        "-e".into(),
        format!("inject={name}:signal=KILL:when={nth}"),
    ];
    if run(at, log.path(), &filter, program, args).success() {
        return false;
    }
    let last = of_main_thread(&fs::read_to_string(log.path()).unwrap()).pop();
    last.is_some_and(|last| last.nth == *nth && (name != "openat" || last.line.contains("O_CREAT")))
}
