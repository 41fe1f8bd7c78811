//! Running the program so that a hang fails a test instead of holding it up.

use super::{mlaan, text};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than any command of these tests takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// Waits for a command whose output fits into a pipe.
pub fn finish(mut command: Command) -> Output {
    let said = format!("{command:?}");
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("{said} hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// The program's error; it must fail with status 1, say one line, and print nothing.
pub fn refuses(at: &Path, args: &[&str]) -> String {
    let mut command = mlaan(at, args);
    command.stdout(Stdio::piped());
    let out = finish(command);
    let message = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{args:?}: {message}{}", text(&out.stdout));
    assert!(message.starts_with("error: ") && message.trim_end().lines().count() == 1, "{args:?}: {message}");
    assert!(out.stdout.is_empty(), "{args:?}: {}", text(&out.stdout));
    message
}
