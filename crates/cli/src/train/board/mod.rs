//! The dashboard of a run: what happens goes into a [`State`], which a thread of its own draws ten times a second
//! at the most. The run never waits for a terminal.

mod curve;
mod screen;
mod state;
mod theme;
mod view;

pub use screen::Screen;
pub use state::State;

use super::lines::going_on;
use super::ranks::{self, Ranks};
use super::table::{self, Table};
use crate::interrupt::{Dashboard, Interrupt, Notice};
use crate::{format, output};
use mlaan::train::Progress;
use mlaan::train::metrics::Event;
use screen::Key;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use theme::Theme;

/// Time between two looks at keys and size, and between two pictures at the least.
const TICK: Duration = Duration::from_millis(100);

/// Time between two pictures while nothing but steps comes.
const CALM: Duration = Duration::from_millis(250);

/// See the module.
pub struct Board {
    shared: Arc<Shared>,
    table: Table,
    ranks: Option<Ranks>,
    /// When ranks were last asked how they are doing.
    asked: Option<Instant>,
}

/// What the run, the drawing thread and the handler of Ctrl-C share.
pub struct Shared {
    screen: Screen,
    state: Mutex<State>,
    /// What is said on the usual screen when the dashboard has gone.
    said: Mutex<Vec<String>>,
    /// A picture should not wait.
    urgent: AtomicBool,
    over: AtomicBool,
}

impl Board {
    /// Takes the screen and begins to draw.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        screen: Screen,
        state: State,
        (interrupt, ranks): (&Arc<Interrupt>, Option<Ranks>),
    ) -> std::io::Result<Self> {
        let table = state.table().clone();
        let shared = Arc::new(Shared {
            screen,
            state: Mutex::new(state),
            said: Mutex::default(),
            urgent: AtomicBool::new(true),
            over: AtomicBool::new(false),
        });
        give_back_before_panics(&shared);
        let (drawn, interrupt) = (Arc::clone(&shared), Arc::clone(interrupt));
        std::thread::Builder::new().name("dashboard".into()).spawn(move || drawn.watch(&interrupt))?;
        Ok(Board { shared, table, ranks, asked: None })
    }

    /// Tells what happened.
    pub fn tell(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Resumed { epoch, step } => {
                let said = going_on((epoch, step), &self.shared.state().eta);
                self.shared.say(said);
            }
            Progress::Event(Event::Start(_) | Event::Resume { .. }) => {
                let header = table::header(&self.shared.state().eta);
                self.shared.say(format::dim(&header));
            }
            Progress::Epoch(e) => {
                let row = self.table.row(e);
                self.shared.say(row.line(table::shown(output::width())));
            }
            _ => {}
        }
        let ends = matches!(progress, Progress::Event(Event::End(_)));
        // Asking reads what the system says of the process, which small steps would feel.
        let is_due = ends || self.asked.is_none_or(|at| at.elapsed() >= CALM);
        if let Some(ranks) = self.ranks.as_ref().filter(|_| is_due) {
            self.asked = Some(Instant::now());
            let rows = ranks.rows();
            if ends {
                self.shared.say(format!("\n{}", ranks::table(&rows)));
            }
            self.shared.state().ranks = rows;
        }
        if self.shared.state().tell(progress, Instant::now()) {
            self.shared.urgent.store(true, Ordering::Relaxed);
        }
    }

    /// Says something when the usual screen is back.
    pub fn note(&self, text: &str) {
        self.shared.say(text.into());
    }

    /// Where Ctrl-C is acknowledged.
    pub fn notice(&self) -> Notice {
        Notice::Board(self.shared.clone())
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Dashboard for Shared {
    fn stopping(&self) {
        self.state().stopping = true;
        self.urgent.store(true, Ordering::Relaxed);
    }

    /// Says there, too, what the progress bar's lines would have said.
    fn close(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.screen.close();
        let said = std::mem::take(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner));
        said.iter().for_each(|line| output::line(line));
    }
}

impl Shared {
    fn say(&self, line: String) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws and listens until the run is over.
    fn watch(&self, interrupt: &Interrupt) {
        let theme = Theme::of_terminal();
        let (mut last, mut size) = (None::<Instant>, (0, 0));
        while !self.over.load(Ordering::SeqCst) {
            let now = self.screen.size();
            let resized = std::mem::replace(&mut size, now) != now;
            let due = last.is_none_or(|at| at.elapsed() >= CALM);
            if self.urgent.swap(false, Ordering::Relaxed) || resized || due {
                let state = self.state().clone();
                // What cannot be shown now may be shown later.
                let _ = self.screen.show(&state, &theme);
                last = Some(Instant::now());
            }
            for key in self.screen.keys(TICK) {
                self.press(key, interrupt);
            }
        }
    }

    fn press(&self, key: Key, interrupt: &Interrupt) {
        match key {
            Key::Stop => interrupt.stop(),
            Key::Next => {
                let mut state = self.state();
                state.view = state.next_view();
            }
            Key::Help => {
                let mut state = self.state();
                state.help = !state.help;
            }
            Key::Suspend => self.screen.suspend(),
        }
        self.urgent.store(true, Ordering::Relaxed);
    }
}

/// What a panic says must be read, and is said before anything is dropped.
fn give_back_before_panics(shared: &Arc<Shared>) {
    let (shared, usual) = (Arc::clone(shared), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        shared.screen.leave();
        usual(panic);
    }));
}
