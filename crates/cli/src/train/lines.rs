//! A run for people: a line per epoch, and between them a progress bar or, without a terminal, now and
//! then a line.

use crate::interrupt::Notice;
use crate::{format, output};
use console::{Term, style};
use indicatif::{ProgressBar, ProgressStyle};
use mlaan::recipe::Recipe;
use mlaan::train::metrics::Epoch;
use mlaan::train::{Progress, Trainer};
use std::time::{Duration, Instant};

/// Time between two progress lines.
const QUIET: Duration = Duration::from_secs(10);

/// Columns of the bar itself.
const WIDTH: usize = 16;

/// See the module.
pub struct Lines {
    bar: Option<ProgressBar>,
    last: Instant,
    epochs: usize,
    /// Training images of an epoch and of a step.
    images: (usize, usize),
    /// Seconds of the last evaluation; the bar's guess for those to come.
    testing: f64,
    testing_since: Instant,
    best: f64,
}

/// A step, as [`Progress::Step`] tells it.
struct Step {
    epoch: usize,
    step: usize,
    steps: usize,
    loss: f64,
    error: f64,
    speed: f64,
    bytes: u64,
}

impl Lines {
    /// For a run of this recipe, whose lowest test error so far is `best`.
    pub fn new(recipe: &Recipe, trainer: &Trainer, best: f64) -> Self {
        let terminal = Term::stdout().is_term() && Term::stderr().is_term();
        Lines {
            bar: terminal.then(bar),
            last: Instant::now(),
            epochs: recipe.train.epochs,
            images: (trainer.splits().train.len(), recipe.train.batch),
            testing: 0.0,
            testing_since: Instant::now(),
            best,
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
                let (epochs, steps) = (format::several(epoch, "epoch"), format::several(step, "step"));
                let within = if step == 0 { String::new() } else { format!(" and {steps} of the next") };
                self.line(&format!("Going on after {epochs}{within}."));
            }
            Progress::Event(
                mlaan::train::metrics::Event::Start(_) | mlaan::train::metrics::Event::Resume { .. },
            ) => {
                self.line(&format::dim(&header()));
            }
            Progress::Step { epoch, step, steps, loss, error, images_per_second: speed, peak_bytes } => {
                self.step(&Step { epoch, step, steps, loss, error, speed, bytes: peak_bytes as u64 });
            }
            Progress::Evaluating { epoch } => {
                self.testing_since = Instant::now();
                if let Some(bar) = &self.bar {
                    bar.set_prefix(self.prefix(epoch));
                    bar.set_message("testing");
                }
            }
            Progress::Epoch(e) => {
                self.testing = self.testing_since.elapsed().as_secs_f64();
                let is_best = e.test_error < self.best;
                self.best = self.best.min(e.test_error);
                self.line(&self.epoch_line(e, is_best));
                self.last = Instant::now();
            }
            Progress::Event(_) => {}
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::line(text)),
            None => output::line(text),
        }
    }

    fn prefix(&self, epoch: usize) -> String {
        format!("epoch {epoch}/{}", self.epochs)
    }

    fn step(&mut self, s: &Step) {
        let (epoch, run) = self.left(s);
        let state = format!(
            "{} left, run {} · loss {:.3} · error {:.1} % · {} images/s · {}",
            format::clock(epoch),
            format::clock(run),
            s.loss,
            s.error,
            format::count(s.speed as usize),
            format::bytes(s.bytes)
        );
        if let Some(bar) = &self.bar {
            bar.set_length(s.steps as u64);
            bar.set_position(s.step as u64);
            bar.set_prefix(self.prefix(s.epoch));
            bar.set_message(self.fitting(&state, s.epoch));
        } else if self.last.elapsed() >= QUIET {
            self.last = Instant::now();
            output::line(&format!("  {}, step {}/{}: {state}", self.prefix(s.epoch), s.step, s.steps));
        }
    }

    /// As much of `text` as the bar's line has room for; some is left, so that an echoed `^C` does not wrap.
    fn fitting(&self, text: &str, epoch: usize) -> String {
        let taken = self.prefix(epoch).len() + WIDTH + 13;
        text.chars().take(usize::from(output::width()).saturating_sub(taken)).collect()
    }

    /// Seconds left of the epoch and of the run.
    fn left(&self, s: &Step) -> (f64, f64) {
        let (all, batch) = self.images;
        let seconds = |images: usize| images as f64 / s.speed.max(1e-9);
        let epoch = seconds(all.saturating_sub(s.step * batch)) + self.testing;
        let later = self.epochs.saturating_sub(s.epoch) as f64;
        (epoch, epoch + later * (seconds(all) + self.testing))
    }

    fn epoch_line(&self, e: &Epoch, is_best: bool) -> String {
        let at = format!("{}/{}", e.epoch, self.epochs);
        let mark = if is_best { style("*").green().to_string() } else { " ".into() };
        let test = format!("{:>8}", format::percent(e.test_error));
        let test = if is_best { style(test).bold().to_string() } else { test };
        format!(
            "{at:>7}  {:<6}  {:>6}  {:>8}  {test}{mark}  {:>8}  {:>8}  {:>6}  {}",
            rate(e.lr),
            loss(e.train_loss),
            format::percent(e.train_error),
            format::count(e.images_per_second as usize),
            format::bytes(e.peak_bytes),
            format::clock(e.seconds),
            format::dim(&modules(&e.module_errors, self.shown())),
        )
    }

    /// Modules whose error there is room for.
    fn shown(&self) -> usize {
        match self.bar {
            Some(_) => usize::from(output::width().saturating_sub(77) / 4).clamp(2, 10),
            None => 10,
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
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

fn header() -> String {
    format!(
        "{:>7}  {:<6}  {:>6}  {:>8}  {:>8}   {:>8}  {:>8}  {:>6}  {}",
        "epoch", "lr", "loss", "error", "test", "images/s", "memory", "time", "% per module"
    )
}

fn rate(lr: f64) -> String {
    if lr == 0.0 || lr >= 1e-3 { format!("{lr:.4}") } else { format!("{lr:.1e}") }
}

fn loss(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "–".into() }
}

/// The training error of every module; of many, the first and the last few.
fn modules(errors: &[f64], most: usize) -> String {
    let one = |i: usize| match errors.get(i) {
        Some(e) if e.is_finite() => format!("{e:.0}"),
        _ => "–".into(),
    };
    let shown = format::abridged(errors.len(), most);
    let words: Vec<String> = shown.iter().map(|i| i.map_or_else(|| "…".into(), one)).collect();
    words.join(" ")
}
