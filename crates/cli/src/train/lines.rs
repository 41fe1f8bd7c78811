//! A run for people: a line per epoch, and between them a progress bar or, without a terminal, now and
//! then a line.

use super::eta::Eta;
use super::ranks::{self, Ranks};
use super::table::{self, Table};
use crate::interrupt::Notice;
use crate::{format, host, output};
use console::Term;
use indicatif::{ProgressBar, ProgressStyle};
use mlaan::train::Progress;
use mlaan::train::metrics::Event;
use std::time::{Duration, Instant};

/// Time between two progress lines.
const QUIET: Duration = Duration::from_secs(10);

/// Columns of the bar itself.
const WIDTH: usize = 16;

/// See the module.
pub struct Lines {
    bar: Option<ProgressBar>,
    last: Instant,
    eta: Eta,
    testing_since: Instant,
    table: Table,
    ranks: Option<Ranks>,
    /// Whether how they are doing was told.
    told: bool,
}

/// A step, as [`Progress::Step`] tells it.
struct Step {
    epoch: usize,
    step: usize,
    steps: usize,
    loss: f64,
    accuracy: f64,
    speed: f64,
    bytes: u64,
}

impl Lines {
    /// For a run whose lowest validation (or test) error so far is `best`.
    pub fn new(eta: Eta, best: f64, ranks: Option<Ranks>) -> Self {
        let terminal = host::current().is_none() && Term::stdout().is_term() && Term::stderr().is_term();
        Lines {
            bar: terminal.then(bar),
            last: Instant::now(),
            table: Table::new(eta.epochs, best),
            eta,
            testing_since: Instant::now(),
            ranks,
            told: false,
        }
    }

    /// How ranks are doing: after the first epoch, and at the end.
    fn tell_of_ranks(&mut self) {
        if let Some(ranks) = &self.ranks {
            self.line(&format!("\n{}\n", ranks::table(&ranks.rows())));
            self.told = true;
        }
    }

    /// Where Ctrl-C is acknowledged.
    pub fn notice(&self) -> Notice {
        self.bar.clone().map_or(Notice::Line, Notice::Above)
    }

    /// Tells what happened.
    pub fn tell(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Resumed { epoch, step } => {
                self.line(&going_on((epoch, step), &self.eta));
            }
            Progress::Event(Event::Start(_) | Event::Resume { .. }) => {
                self.line(&format::dim(&table::legend(&self.eta)));
                self.line(&format::dim(&table::header(&self.eta)));
            }
            Progress::Step { epoch, step, steps, loss, error, images_per_second: speed, peak, .. } => {
                let accuracy = 100.0 - error;
                self.step(&Step { epoch, step, steps, loss, accuracy, speed, bytes: peak.most() });
            }
            Progress::Evaluating { epoch } => {
                self.testing_since = Instant::now();
                if let Some(bar) = &self.bar {
                    bar.set_prefix(self.prefix(epoch));
                    bar.set_message("testing");
                }
            }
            Progress::Epoch(e) => {
                self.eta.testing = self.testing_since.elapsed().as_secs_f64();
                let row = self.table.row(e);
                self.line(&row.line(self.shown()));
                self.last = Instant::now();
                if !self.told {
                    self.tell_of_ranks();
                }
            }
            Progress::Event(Event::End(summary)) if summary.epochs > 1 => self.tell_of_ranks(),
            Progress::Event(_) => {}
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::line(text)),
            None => output::line(text),
        }
    }

    /// Says something on standard error.
    pub fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::note(text)),
            None => output::note(text),
        }
    }

    fn prefix(&self, epoch: usize) -> String {
        format!("epoch {epoch}/{}", self.eta.epochs)
    }

    fn step(&mut self, s: &Step) {
        let (epoch, run) = self.eta.after(s.epoch, s.step, s.speed);
        let [left, run] = [format!("{} left", format::clock(epoch)), format!("run {}", format::clock(run))];
        let [loss, accuracy] = [format!("loss {:.3}", s.loss), format!("accuracy {:.1} %", s.accuracy)];
        if let Some(bar) = &self.bar {
            bar.set_length(s.steps as u64);
            bar.set_position(s.step as u64);
            bar.set_prefix(self.prefix(s.epoch));
            let (speed, bytes) = (format::count(s.speed as usize), format::bytes(s.bytes));
            let fields = [loss, accuracy, left, run, format!("{speed} images/s"), bytes];
            bar.set_message(format::fitting(&fields, ", ", self.room(s.epoch)));
        } else if self.last.elapsed() >= QUIET {
            self.last = Instant::now();
            output::line(&format!(
                "  {}, step {}/{}: {loss}, {accuracy}, {left}, {run}",
                self.prefix(s.epoch),
                s.step,
                s.steps
            ));
        }
    }

    /// Columns behind the bar; some are left, so that an echoed `^C` does not wrap.
    fn room(&self, epoch: usize) -> usize {
        let taken = self.prefix(epoch).len() + WIDTH + 13;
        usize::from(output::width()).saturating_sub(taken)
    }

    /// Modules whose accuracy there is room for.
    fn shown(&self) -> usize {
        table::shown(output::columns().map_or(80, |columns| columns as u16))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Where a run goes on that has finished this many epochs, and steps of the next one.
pub fn going_on((epoch, step): (usize, usize), eta: &Eta) -> String {
    let steps = eta.images.div_ceil(eta.batch.max(1));
    match step {
        // Only what follows the last epoch is left.
        _ if epoch >= eta.epochs => format!("Resuming after {}.", format::several(epoch, "epoch")),
        0 => format!("Resuming at epoch {}.", epoch + 1),
        _ => format!("Resuming at epoch {}, step {step}/{steps}.", epoch + 1),
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(1);
    let template = format!("{{prefix}} {{bar:{WIDTH}.green/dim}} {{percent:>3}} %  {{msg}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("━━╌"));
    }
    bar
}
