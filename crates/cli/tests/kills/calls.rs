//! Calls of a program that change files, by `strace`: which there are, and a kill at one of them.

use std::collections::BTreeMap;
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

/// A call of a thread.
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

fn run(at: &Path, log: &Path, filter: &[String], program: &Path, args: &[&str]) -> std::process::ExitStatus {
    let mut command = Command::new("strace");
    command.arg("-f").arg("-o").arg(log).args(filter).arg(program).args(args);
    command.current_dir(at).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap()
}

/// The calls of these names that a program's working thread makes; of those that open files, the ones that may make one.
pub fn traced(at: &Path, program: &Path, args: &[&str], names: &[&str]) -> Vec<Call> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let filter = ["-e".into(), format!("trace={}", names.join(","))];
    assert!(run(at, log.path(), &filter, program, args).success(), "{args:?}");
    let threads = of_threads(&fs::read_to_string(log.path()).unwrap());
    let changing =
        threads.into_iter().map(|calls| calls.into_iter().filter(Call::changes).collect::<Vec<_>>());
    // What tells of the work is not the work.
    let work = |calls: &Vec<Call>| {
        calls.iter().filter(|c| !c.line.starts_with("1,") && !c.line.starts_with("2,")).count()
    };
    changing.max_by_key(work).unwrap_or_default()
}

impl Call {
    fn changes(&self) -> bool {
        self.name != "openat" || self.line.contains("O_CREAT")
    }
}

/// The calls of each thread.
fn of_threads(log: &str) -> Vec<Vec<Call>> {
    let mut threads: BTreeMap<&str, Vec<Call>> = BTreeMap::new();
    for line in log.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let Some((name, rest)) = call.trim_start().split_once('(').filter(|(name, _)| CALLS.contains(name))
        else {
            continue;
        };
        let calls = threads.entry(thread).or_default();
        let nth = 1 + calls.iter().filter(|c| c.name == name).count();
        calls.push(Call { name: name.into(), nth, line: rest.into() });
    }
    threads.into_values().collect()
}

/// Kills a program when one of its threads enters the call; whether that call was the thread's last one.
pub fn killed(at: &Path, program: &Path, args: &[&str], call: &Call) -> bool {
    let log = tempfile::NamedTempFile::new().unwrap();
    let Call { name, nth, .. } = call;
    let filter =
        ["-e".into(), format!("trace={name}"), "-e".into(), format!("inject={name}:signal=KILL:when={nth}")];
    if run(at, log.path(), &filter, program, args).success() {
        return false;
    }
    let threads = of_threads(&fs::read_to_string(log.path()).unwrap());
    threads.iter().filter_map(|calls| calls.last()).any(|last| last.nth == *nth && last.changes())
}
