//! Who is told what a run does.

#[cfg(unix)]
use super::board::Board;
use super::lines::Lines;
use crate::interrupt::Notice;
use crate::output;
use mlaan::train::Progress;

/// How a run is told.
pub enum Reporter {
    /// Not at all.
    Quiet,
    /// A line of JSON per event.
    Json,
    /// For people.
    Lines(Box<Lines>),
    /// For people whose terminal has room.
    #[cfg(unix)]
    Board(Box<Board>),
}

impl Reporter {
    /// Tells what happened.
    pub fn tell(&mut self, progress: Progress<'_>) {
        match (self, progress) {
            (Reporter::Lines(lines), p) => lines.tell(p),
            #[cfg(unix)]
            (Reporter::Board(board), p) => board.tell(p),
            (Reporter::Json, Progress::Event(event)) => {
                if let Ok(json) = serde_json::to_string(event) {
                    output::json_event(&json);
                }
            }
            _ => {}
        }
    }

    /// Says on standard error, as soon as it can be read there, what does not stop the run.
    pub fn warn(&self, text: &str) {
        match self {
            Reporter::Quiet => {}
            Reporter::Json => output::note(text),
            Reporter::Lines(lines) => lines.note(text),
            #[cfg(unix)]
            Reporter::Board(board) => board.note(text),
        }
    }

    /// Where Ctrl-C is acknowledged.
    pub fn notice(&self) -> Option<Notice> {
        match self {
            Reporter::Quiet => None,
            Reporter::Json => Some(Notice::Line),
            Reporter::Lines(lines) => Some(lines.notice()),
            #[cfg(unix)]
            Reporter::Board(board) => Some(board.notice()),
        }
    }
}
