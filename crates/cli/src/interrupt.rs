//! Ctrl-C: the first one asks a run to save and stop, the second one ends the program. Signals that arrive together are
//! one: `timeout` and some shells send theirs to the process and to its group.

use crate::{host, output};
use anyhow::{Context, Result};
use indicatif::ProgressBar;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The exit status of a program that Ctrl-C ended.
pub const EXIT: u8 = 130;

/// Signals within this time are one.
const TOGETHER: Duration = Duration::from_millis(500);

/// What the handler and the run share.
#[derive(Default)]
pub struct Interrupt {
    stop: Arc<AtomicBool>,
    running: AtomicBool,
    /// Whether a launcher started this process, which kills it a moment after it asked.
    launched: AtomicBool,
    /// When the run was first asked to stop.
    first: Mutex<Option<Instant>>,
    /// How to tell the user; nothing when the run is quiet.
    notice: Mutex<Option<Notice>>,
}

/// Where the handler speaks.
#[derive(Clone)]
pub enum Notice {
    /// On standard error.
    Line,
    /// Above the progress bar.
    Above(ProgressBar),
    /// In the dashboard.
    #[cfg(unix)]
    Board(Arc<dyn Dashboard>),
}

/// What has the terminal for itself.
#[cfg(unix)]
pub trait Dashboard: Send + Sync {
    /// Shows that the run stops.
    fn stopping(&self);
    /// Gives the terminal back for good.
    fn close(&self);
}

impl Interrupt {
    /// Catches Ctrl-C and the request to terminate from now on; a program that embeds the command does so itself.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn install() -> Result<Arc<Self>> {
        if let Some(host) = host::current() {
            return Ok(Arc::new(Interrupt { stop: Arc::clone(host.stop()), ..Self::default() }));
        }
        let shared = Arc::new(Self::default());
        let handler = Arc::clone(&shared);
        ctrlc::set_handler(move || handler.received()).context("cannot catch Ctrl-C")?;
        // What batch systems send before a job's time is over, and mpirun hands on to all ranks.
        #[cfg(unix)]
        signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&shared.stop))
            .context("cannot catch SIGUSR1")?;
        Ok(shared)
    }

    /// From now on there is something to save.
    pub fn begin(&self, notice: Option<Notice>) {
        *self.notice.lock().unwrap_or_else(PoisonError::into_inner) = notice;
        self.running.store(true, Ordering::SeqCst);
    }

    /// From now on the time to save is the launcher's.
    pub fn launched(&self) {
        self.launched.store(true, Ordering::SeqCst);
    }

    /// Set when the run shall stop.
    pub fn flag(&self) -> &AtomicBool {
        &self.stop
    }

    /// Asks the run to save and stop, however often.
    #[cfg(unix)]
    pub fn stop(&self) {
        self.ask(Instant::now());
    }

    fn received(&self) {
        let nothing_to_save = !self.running.load(Ordering::SeqCst);
        if self.ask(Instant::now()) || nothing_to_save {
            #[cfg(unix)]
            if let Some(Notice::Board(board)) = &*self.notice.lock().unwrap_or_else(PoisonError::into_inner) {
                board.close();
            }
            std::process::exit(i32::from(EXIT));
        }
    }

    /// Asks the run to stop; whether it was asked before, and not just now.
    fn ask(&self, now: Instant) -> bool {
        let first = *self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(now);
        if !self.stop.swap(true, Ordering::SeqCst) && self.running.load(Ordering::SeqCst) {
            self.acknowledge();
        }
        now.duration_since(first) > TOGETHER
    }

    fn acknowledge(&self) {
        let text = if self.launched.load(Ordering::SeqCst) {
            "asked to stop: saving after this step, unless the launcher ends the ranks before"
        } else {
            "stopping after this step and saving; Ctrl-C again stops at once"
        };
        match &*self.notice.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(Notice::Line) => output::note(text),
            Some(Notice::Above(bar)) => bar.suspend(|| output::note(text)),
            #[cfg(unix)]
            Some(Notice::Board(board)) => board.stopping(),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_arrive_together_are_one() {
        let (interrupt, now) = (Interrupt::default(), Instant::now());
        assert!(!interrupt.ask(now) && interrupt.flag().load(Ordering::SeqCst));
        assert!(!interrupt.ask(now) && !interrupt.ask(now + TOGETHER));
        assert!(interrupt.ask(now + 2 * TOGETHER));
    }
}
