//! The terminal while the dashboard has it. Whatever happens, it is given back as it was found.
//!
//! Only echo and line editing are switched off: Ctrl-C stays a signal, so it works even if nobody reads keys.
//! Neither drawing nor giving back takes a lock that a stuck terminal could hold for ever.

use super::state::State;
use super::theme::Theme;
use super::view;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, getpgrp, kill_current_process_group};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
};
use std::io::{BufWriter, Result, Write, stdin, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The other screen without cursor, and back to the usual one.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";

/// A signal's key where it has none (`_POSIX_VDISABLE`).
const NO_KEY: u8 = if cfg!(any(target_os = "linux", target_os = "android")) { 0 } else { 0xff };

/// How long giving back waits for a picture that is being written.
const PATIENCE: Duration = Duration::from_millis(200);

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Stop and save.
    Stop,
    /// The next view.
    Next,
    /// Explain the keys.
    Help,
    /// Suspend the process, as Ctrl-Z does elsewhere.
    Suspend,
}

/// See the module.
pub struct Screen {
    found: Termios,
    taken: AtomicBool,
    closed: AtomicBool,
    deaf: AtomicBool,
    terminal: Mutex<Terminal<CrosstermBackend<BufWriter<Out>>>>,
}

/// Standard output without the lock that the rest of the program prints under.
struct Out;

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        Ok(rustix::io::write(stdout(), bytes)?)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Screen {
    /// The terminal, if it is one, in the foreground, and has room.
    pub fn open() -> Option<Self> {
        let size = tcgetwinsize(stdout()).ok()?;
        let dumb = std::env::var("TERM").is_ok_and(|t| t == "dumb");
        if dumb || size.ws_col < view::LEAST.0 || size.ws_row < view::LEAST.1 || !foreground() {
            return None;
        }
        let found = tcgetattr(stdin()).ok()?;
        let terminal = Terminal::new(CrosstermBackend::new(BufWriter::new(Out))).ok()?;
        Some(Screen {
            found,
            taken: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
            terminal: Mutex::new(terminal),
        })
    }

    /// Shows `state`, unless the terminal is someone else's just now.
    ///
    /// # Errors
    /// What the terminal refuses.
    pub fn show(&self, state: &State, theme: &Theme) -> Result<()> {
        let Some(mut terminal) = self.patiently() else { return Ok(()) };
        if self.closed.load(Ordering::SeqCst) || !foreground() {
            return Ok(());
        }
        // Whoever suspended and continued the process has set the terminal as it was.
        let lost = tcgetattr(stdin())?.local_modes.contains(LocalModes::ICANON);
        if lost || !self.taken.load(Ordering::SeqCst) {
            self.take()?;
            terminal.clear()?;
        }
        terminal.draw(|frame| view::draw(state, theme, frame.area(), frame.buffer_mut()))?;
        Ok(())
    }

    /// Size in columns and rows.
    pub fn size(&self) -> (u16, u16) {
        tcgetwinsize(stdout()).map_or((0, 0), |s| (s.ws_col, s.ws_row))
    }

    /// Waits for keys, for as long as `time` at the most.
    pub fn keys(&self, time: Duration) -> Vec<Key> {
        let begin = Instant::now();
        let keys = self.read(time);
        if keys.is_none() {
            std::thread::sleep(time.saturating_sub(begin.elapsed()));
        }
        keys.unwrap_or_default()
    }

    /// Nothing where nobody can press a key.
    fn read(&self, time: Duration) -> Option<Vec<Key>> {
        if self.deaf.load(Ordering::Relaxed) || !self.taken.load(Ordering::SeqCst) || !foreground() {
            return None;
        }
        let input = stdin();
        let mut waiting = [PollFd::new(&input, PollFlags::IN)];
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
        match poll(&mut waiting, Some(&timeout)) {
            Ok(0) => return Some(Vec::new()),
            Ok(_) => {}
            Err(_) => return None,
        }
        let mut bytes = [0; 64];
        match rustix::io::read(&input, &mut bytes) {
            Ok(n) if n > 0 => Some(meaning(bytes.get(..n).unwrap_or_default())),
            Err(rustix::io::Errno::INTR) => Some(Vec::new()),
            // The terminal is gone; asking again would not wait.
            _ => {
                self.deaf.store(true, Ordering::Relaxed);
                None
            }
        }
    }

    /// Stops this process and whatever runs with it, as the terminal would have done.
    pub fn suspend(&self) {
        self.leave();
        // The signal may reach another thread first; until it has, nothing may be drawn.
        if kill_current_process_group(Signal::TSTP).is_ok() {
            std::thread::sleep(PATIENCE);
        }
    }

    /// Gives the terminal back; the next picture takes it again.
    pub fn leave(&self) {
        let _drawn = self.patiently();
        if self.taken.swap(false, Ordering::SeqCst) && foreground() {
            let _ = tcsetattr(stdin(), OptionalActions::Now, &self.found);
            let _ = rustix::io::write(stdout(), LEAVE);
        }
    }

    /// Gives the terminal back for good.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.leave();
    }

    fn take(&self) -> Result<()> {
        let mut modes = self.found.clone();
        modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        for (code, value) in [
            (SpecialCodeIndex::VMIN, 1),
            (SpecialCodeIndex::VTIME, 0),
            // Suspending and quitting must pass by here first, since the terminal would stay as it is.
            (SpecialCodeIndex::VSUSP, NO_KEY),
            (SpecialCodeIndex::VQUIT, NO_KEY),
        ] {
            modes.special_codes[code] = value;
        }
        self.taken.store(true, Ordering::SeqCst);
        tcsetattr(stdin(), OptionalActions::Now, &modes)?;
        Out.write_all(ENTER)
    }

    /// The terminal when no picture is being written; nothing if that takes too long.
    fn patiently(&self) -> Option<MutexGuard<'_, Terminal<CrosstermBackend<BufWriter<Out>>>>> {
        let begin = Instant::now();
        loop {
            match self.terminal.try_lock() {
                Ok(free) => return Some(free),
                Err(std::sync::TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(std::sync::TryLockError::WouldBlock) if begin.elapsed() >= PATIENCE => return None,
                Err(std::sync::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}

/// Whether the terminal listens to this process: one in the background that changes a terminal is stopped by it.
fn foreground() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp())
}

/// Keys among the bytes that a terminal sends; sequences of cursor keys and pasted text mean nothing.
fn meaning(bytes: &[u8]) -> Vec<Key> {
    if bytes.contains(&0x1b) {
        return Vec::new();
    }
    let key = |&byte: &u8| match byte {
        b'q' | b'Q' => Some(Key::Stop),
        b'\t' => Some(Key::Next),
        b'?' | b'h' => Some(Key::Help),
        0x1a => Some(Key::Suspend),
        _ => None,
    };
    bytes.iter().filter_map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_and_sequences_are_not() {
        assert_eq!(meaning(b"q\t?"), [Key::Stop, Key::Next, Key::Help]);
        assert_eq!(meaning(&[0x1a]), [Key::Suspend]);
        assert!(meaning(b"\x1b[A").is_empty() && meaning(b"\x1bOq").is_empty() && meaning(b"xyz").is_empty());
    }
}
