//! The dashboard on a terminal: what it shows, that it stops a run cleanly, and that it gives the terminal back.
#![allow(clippy::unwrap_used, clippy::panic)]
#![cfg(target_os = "linux")]

mod common;

use common::{TINY, epochs};
use rustix::fd::{AsFd, OwnedFd};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A terminal, the program that runs on it, and what it shows.
struct Terminal {
    ours: std::fs::File,
    theirs: OwnedFd,
    child: Child,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// Starts the program in `at` on a terminal of this size.
    fn start(at: &Path, args: &[&str], (columns, rows): (u16, u16)) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs: OwnedFd =
            std::fs::OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap().into();
        resize(&ours, columns, rows);
        let mut command = Command::new(env!("CARGO_BIN_EXE_mlaan"));
        command.current_dir(at).args(args).env("TERM", "xterm-256color").env_remove("NO_COLOR");
        for input in 0..3 {
            let fd = theirs.try_clone().unwrap();
            match input {
                0 => command.stdin(fd),
                1 => command.stdout(fd),
                _ => command.stderr(fd),
            };
        }
        let terminal = theirs.try_clone().unwrap();
        let own = move || {
            rustix::process::setsid()?;
            Ok(rustix::process::ioctl_tiocsctty(&terminal)?)
        };
        // SAFETY: between fork and exec only two system calls are made; nothing is allocated or locked.
        unsafe { command.pre_exec(own) };
        let child = command.spawn().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(nonzero(rows), nonzero(columns), 500)));
        let (shown, mut reader) =
            (Arc::clone(&screen), std::fs::File::from(ours.as_fd().try_clone_to_owned().unwrap()));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n) = reader.read(&mut bytes) {
                shown.lock().unwrap().process(&bytes[..n]);
            }
        });
        Terminal { ours: ours.into(), theirs, child, screen }
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    fn on_other_screen(&self) -> bool {
        self.screen.lock().unwrap().screen().alternate_screen()
    }

    /// Waits until the screen is as it should be.
    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !holds(self) {
            assert!(begin.elapsed() < Duration::from_secs(60), "{what}:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn shows(&self, what: &str) {
        self.until(what, |t| t.text().contains(what));
    }

    /// Waits until an epoch behind the first is shown; which one depends on the machine.
    fn trains(&self, of: &str) {
        self.until("a later epoch", |t| {
            let text = t.text();
            let at = text.split("epoch ").skip(1).find_map(|rest| rest.split_once('/'));
            at.is_some_and(|(epoch, rest)| epoch.parse().is_ok_and(|e: usize| e > 1) && rest.starts_with(of))
        });
    }

    fn press(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).unwrap();
    }

    fn modes(&self) -> Termios {
        tcgetattr(&self.theirs).unwrap()
    }

    /// Waits for the end: the status, and the usual screen with the terminal's usual modes.
    fn end(&mut self) -> Option<i32> {
        let status = self.child.wait().unwrap();
        self.until("the usual screen", |t| !t.on_other_screen());
        let usual = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        assert!(self.modes().local_modes.contains(usual));
        assert!(!self.screen.lock().unwrap().screen().hide_cursor());
        status.code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn nonzero(n: u16) -> NonZero<u16> {
    NonZero::new(n).unwrap()
}

fn resize(fd: impl AsFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(fd, size).unwrap();
}

/// The tiny run with so many epochs.
fn long<'a>(epochs: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = common::train(more);
    args[1 + TINY.iter().position(|a| *a == "--epochs").unwrap() + 1] = epochs;
    args
}

#[test]
fn keys_stop_a_run_and_it_resumes() {
    let at = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(at.path(), &long("500", &["--out", "run"]), (90, 26));
    terminal.trains("500");
    terminal.shows("training accuracy of every module");
    assert!(terminal.on_other_screen() && !terminal.modes().local_modes.contains(LocalModes::ICANON));
    terminal.press("\t");
    terminal.shows("every module: training accuracy %, loss");
    terminal.press("?");
    terminal.shows("stop after this step and save");
    terminal.press("?q");
    assert_eq!(terminal.end(), Some(130));
    terminal.shows("mlaan train --resume --out run");
    assert!(terminal.text().contains("1/500"), "{}", terminal.text());
    let mut terminal =
        Terminal::start(at.path(), &["train", "--resume", "--out", "run", "--threads", "1"], (90, 26));
    // What was before is there again.
    terminal.trains("500");
    terminal.press("\t\t");
    terminal.shows("finished epochs");
    terminal.shows("1/500");
    terminal.press("q");
    assert_eq!(terminal.end(), Some(130));
    terminal.shows("Resuming at epoch");
    let all: Vec<usize> =
        epochs(&at.path().join("run"), &[]).iter().map(|e| e["epoch"].as_u64().unwrap() as usize).collect();
    assert_eq!(all, (1..=all.len()).collect::<Vec<_>>());
}

#[test]
fn a_finished_run_leaves_its_lines_on_the_usual_screen() {
    let at = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(at.path(), &long("3", &[]), (90, 40));
    assert_eq!(terminal.end(), Some(0));
    terminal.shows("mlaan eval runs/quickstart");
    let text = terminal.text();
    for word in ["1/3", "2/3", "3/3", "modules %", "peak memory"] {
        assert!(text.contains(word), "{word}:\n{text}");
    }
}

#[test]
fn interruptions_in_a_row_end_a_run_and_give_the_terminal_back() {
    let at = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(at.path(), &long("5000", &[]), (90, 30));
    terminal.trains("5000");
    // Control characters, as the keyboard sends them: the terminal turns them into signals.
    terminal.press("\u{3}\u{3}");
    assert_eq!(terminal.end(), Some(130));
}

#[test]
fn the_window_may_change() {
    let at = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(at.path(), &long("5000", &[]), (90, 30));
    terminal.shows("/5000 ");
    for (columns, rows) in [(30, 8), (120, 40)] {
        terminal.screen.lock().unwrap().screen_mut().set_size(nonzero(rows), nonzero(columns));
        resize(&terminal.ours, columns, rows);
        let frame = "───┘";
        terminal.until("a frame of the new width", |t| {
            t.text().lines().any(|l| l.ends_with(frame) && l.chars().count() == usize::from(columns))
        });
    }
    terminal.press("q");
    assert_eq!(terminal.end(), Some(130));
}

#[test]
fn small_terminals_and_plain_runs_keep_the_progress_bar() {
    let at = tempfile::tempdir().unwrap();
    for (more, size) in [(&[][..], (60, 30)), (&[][..], (90, 12)), (&["--plain"][..], (90, 30))] {
        let mut terminal = Terminal::start(at.path(), &long("2", more), size);
        assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
        terminal.shows("mlaan eval runs/quickstart");
        assert!(!terminal.on_other_screen());
        assert_eq!(terminal.modes().local_modes, terminal.modes().local_modes | LocalModes::ICANON);
    }
}
