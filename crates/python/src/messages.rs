//! What a command that runs for Python tells, on its way to the thread that asked for it.

use crate::ending::Ending;
use mlaan::data::Given;
use mlaan::train::Progress;
use mlaan::train::metrics::Event;
use mlaan_cli::Host;
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// What happened, and what about it: text, JSON, or a folder.
pub type Message = (&'static str, OsString);

/// A run has its folder, and will save into it.
pub const BEGUN: &str = "begun";
/// Time between two steps that are told of.
const BETWEEN: Duration = Duration::from_millis(100);

/// The program that a command runs for.
pub struct Teller {
    sender: Sender<Message>,
    stop: Arc<AtomicBool>,
    images: Option<Given>,
    evaluates: Arc<AtomicBool>,
    printed: RefCell<String>,
    told: Cell<Option<Instant>>,
}

impl Teller {
    /// Tells `sender`, and `ending` whether a run evaluates.
    pub fn new(sender: Sender<Message>, ending: &Ending, images: Option<Given>) -> Self {
        let (stop, evaluates) = (Arc::clone(&ending.stop), Arc::clone(&ending.evaluates));
        Teller { sender, stop, images, evaluates, printed: RefCell::default(), told: Cell::default() }
    }

    /// All that was printed.
    pub fn printed(&self) -> String {
        self.printed.take()
    }

    fn tell(&self, kind: &'static str, text: impl Into<OsString>) {
        // Nobody may listen any more: what goes on is worth more than what is said of it.
        let _ = self.sender.send((kind, text.into()));
    }

    /// Whether it is time for another step.
    fn is_due(&self) -> bool {
        let now = Instant::now();
        let due = self.told.get().is_none_or(|then| now.duration_since(then) >= BETWEEN);
        if due {
            self.told.set(Some(now));
        }
        due
    }
}

impl Host for Teller {
    fn print(&self, text: &str) {
        self.printed.borrow_mut().push_str(text);
        self.tell("print", text);
    }

    fn note(&self, line: &str) {
        self.tell("note", line);
    }

    fn stop(&self) -> &Arc<AtomicBool> {
        &self.stop
    }

    fn images(&self) -> Option<&Given> {
        self.images.as_ref()
    }

    fn begun(&self, folder: &Path) {
        self.tell(BEGUN, folder);
    }

    fn progress(&self, progress: Progress<'_>) {
        match progress {
            Progress::Step { epoch, step, steps, loss, error, images_per_second, peak, .. } => {
                if step == steps || self.is_due() {
                    let step = json!({
                        "epoch": epoch, "step": step, "steps": steps, "loss": loss, "accuracy": 100.0 - error,
                        "images_per_second": images_per_second, "peak_bytes": peak.most(),
                    });
                    self.tell("step", step.to_string());
                }
            }
            Progress::Evaluating { epoch } => {
                self.evaluates.store(true, Ordering::SeqCst);
                self.tell("evaluating", json!({ "epoch": epoch }).to_string());
            }
            Progress::Event(event) => {
                if let Event::Epoch(_) = event {
                    self.evaluates.store(false, Ordering::SeqCst);
                }
                self.tell("event", json!(event).to_string());
            }
            // An event as well, or in the summary.
            Progress::Resumed { .. } | Progress::Epoch(_) => {}
        }
    }
}
