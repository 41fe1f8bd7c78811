//! Who is told what a run does.

#[cfg(unix)]
use super::board::Board;
use super::lines::Lines;
use crate::interrupt::Notice;
use crate::output;
use mlaan::train::Progress;

/// How a run is told.
pub enum Report {
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

impl Report {
    /// Tells what happened.
    pub fn tell(&mut self, progress: Progress<'_>) {
        match (self, progress) {
            (Report::Lines(lines), p) => lines.tell(p),
            #[cfg(unix)]
            (Report::Board(board), p) => board.tell(p),
            (Report::Json, Progress::Event(event)) => {
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
            Report::Quiet => {}
            Report::Json => output::note(text),
            Report::Lines(lines) => lines.note(text),
            #[cfg(unix)]
            Report::Board(board) => board.note(text),
        }
    }

    /// Where Ctrl-C is acknowledged.
    pub fn notice(&self) -> Option<Notice> {
        match self {
            Report::Quiet => None,
            Report::Json => Some(Notice::Line),
            Report::Lines(lines) => Some(lines.notice()),
            #[cfg(unix)]
            Report::Board(board) => Some(board.notice()),
        }
    }
}
