//! A table for people while it runs: a line per run, and a bar or now and then a line in between.

use crate::interrupt::Notice;
use crate::{format, host, output};
use console::{Term, measure_text_width};
use indicatif::{ProgressBar, ProgressStyle};
use mlaan::compare::{Cost, Run, Standing, Table, Tell};
use mlaan::text;
use mlaan::train::Progress;
use std::path::Path;
use std::time::{Duration, Instant};

/// Time between two progress lines.
const QUIET: Duration = Duration::from_secs(60);

/// Runs to do above which it is said how to forecast their time.
const MANY: usize = 3;

/// See the module.
pub struct Lines {
    bar: Option<ProgressBar>,
    silent: bool,
    /// Per run: its cell, seed and epochs.
    runs: Vec<(String, u64, usize)>,
    done: usize,
    /// Width of the longest cell's name.
    width: usize,
    current: Current,
}

/// The run at hand.
struct Current {
    run: usize,
    begun: Instant,
    /// Its part that was done when it went on.
    from: f64,
    expected: Option<f64>,
    later: Option<f64>,
    said: Instant,
}

impl Lines {
    /// For these runs.
    pub fn new(table: &Table, runs: &[Run], silent: bool) -> Self {
        let named = |r: &Run| {
            let cell = table.cells.get(r.cell);
            let epochs = cell.map_or(0, |c| c.recipe.train.epochs);
            (cell.map(|c| text::line(&c.name).into_owned()).unwrap_or_default(), r.seed, epochs)
        };
        let runs_named: Vec<_> = runs.iter().map(named).collect();
        let terminal =
            !silent && host::current().is_none() && Term::stdout().is_term() && Term::stderr().is_term();
        let now = Instant::now();
        Lines {
            bar: terminal.then(bar),
            silent,
            width: runs_named.iter().map(|r| r.0.len()).max().unwrap_or(0),
            done: runs.iter().filter(|r| matches!(r.standing, Standing::Done(_))).count(),
            runs: runs_named,
            current: Current { run: 0, begun: now, from: 0.0, expected: None, later: None, said: now },
        }
    }

    /// Where Ctrl-C is acknowledged.
    pub fn notice(&self) -> Notice {
        self.bar.clone().map_or(Notice::Line, Notice::Above)
    }

    /// Says what is there already, and which batches are larger than the set.
    pub fn begin(&self, folder: &Path, (table, costs): (&Table, &[Cost])) {
        let all = format::several(self.runs.len(), "run");
        // Of many runs the time is worth knowing before.
        let many = self.runs.len().saturating_sub(self.done) > MANY && host::current().is_none();
        let forecast = match many {
            true => "; --plan forecasts their time",
            false => "",
        };
        let small = small(table, costs);
        let small = if small.is_empty() { small } else { format!("\n{small}") };
        self.line(&format!("{all} in {}; {} done before{forecast}.{small}\n", text::path(folder), self.done));
    }

    /// Tells what happened.
    pub fn tell(&mut self, tell: Tell<'_>) {
        match tell {
            Tell::Begin { run, expected, later } => {
                let now = Instant::now();
                self.current = Current { run, begun: now, from: 0.0, expected, later, said: now };
                self.moves(["begins".into(), String::new(), String::new()], 0.0);
            }
            Tell::Notes(notes) => notes.lines().iter().for_each(|line| self.note(&format!("note: {line}"))),
            Tell::Moves(progress) => self.progress(progress),
            Tell::Done(record) => {
                self.done += 1;
                let s = &record.summary;
                let by = if s.best_val_error.is_some() { ", by validation" } else { "" };
                let best =
                    format!("best {} after {}{by}", format::percent(s.best_test_accuracy), s.best_epoch);
                let diverged = if record.diverged() { "diverged: " } else { "" };
                let said = format!("{diverged}accuracy {:>7} ({best})", format::percent(s.test_accuracy));
                let (time, memory) = (format::duration(s.seconds), format::bytes(s.peak().most()));
                self.run_line(&said, &format!("{time}, memory {memory}"));
            }
            Tell::Failed(failure) => self.run_line(&format!("failed: {}", text::line(&failure.error)), ""),
        }
    }

    fn progress(&mut self, progress: Progress<'_>) {
        let epochs = self.runs.get(self.current.run).map_or(1, |r| r.2).max(1) as f64;
        match progress {
            Progress::Resumed { epoch, .. } => self.current.from = epoch as f64 / epochs,
            Progress::Step { epoch, step, steps, loss, error, .. } => {
                let part = ((epoch - 1) as f64 + step as f64 / steps.max(1) as f64) / epochs;
                let accuracy = 100.0 - error;
                let state = [
                    format!("accuracy {accuracy:.1} %"),
                    format!("epoch {epoch}/{epochs}"),
                    format!("loss {loss:.3}"),
                ];
                self.moves(state, part);
            }
            _ => {}
        }
    }

    /// Shows where the run at hand stands, of which `part` is done: what matters most first, then the time left, then the rest.
    fn moves(&mut self, [first, second, third]: [String; 3], part: f64) {
        let left = self.left(part);
        let Some((cell, seed, _)) = self.runs.get(self.current.run) else { return };
        let fields = [format!("{cell} seed {seed}"), first, left, second, third];
        if let Some(bar) = &self.bar {
            bar.set_length(1000);
            bar.set_position((part * 1000.0) as u64);
            bar.set_prefix(format!("{}/{}", self.done, self.runs.len()));
            let room = usize::from(output::width()).saturating_sub(28);
            bar.set_message(format::fitting(&fields, " · ", room));
        } else if self.current.said.elapsed() >= QUIET {
            self.current.said = Instant::now();
            self.line(&format!("  {}", format::fitting(&fields, " · ", usize::MAX)));
        }
    }

    /// Time left of the run at hand and of all, in words; nothing where it is not known.
    fn left(&self, part: f64) -> String {
        let c = &self.current;
        let spent = c.begun.elapsed().as_secs_f64();
        // Its own pace, once there is one.
        let own = match (part - c.from, c.expected) {
            (done, _) if done > 0.02 => Some(spent / done * (1.0 - part)),
            (_, expected) => expected.map(|e| (e - spent).max(0.0)),
        };
        match (own, c.later) {
            (Some(own), Some(later)) => {
                format!("{} left, all {}", format::duration(own), format::duration(own + later))
            }
            (Some(own), None) => format!("{} left", format::duration(own)),
            _ => String::new(),
        }
    }

    /// The line that stays of a run; `more` stands below the text where it has no room behind it.
    fn run_line(&self, text: &str, more: &str) {
        let Some((cell, seed, _)) = self.runs.get(self.current.run) else { return };
        let all = self.runs.len();
        let digits = all.to_string().len();
        let run = format!(" {:>digits$}/{all}  {cell:<width$}  seed {seed}  ", self.done, width = self.width);
        self.line(&beside(&run, (text, more), output::columns()));
    }

    fn note(&self, text: &str) {
        match &self.bar {
            _ if self.silent => {}
            Some(bar) => bar.suspend(|| output::note(text)),
            None => output::note(text),
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            _ if self.silent => {}
            Some(bar) => bar.suspend(|| output::line(text)),
            None => output::line(text),
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

/// A text behind a label, and `more` behind it, or below it where so many columns have no room for both.
fn beside(label: &str, (text, more): (&str, &str), columns: Option<usize>) -> String {
    let line = format!("{label}{text}  {more}");
    if more.is_empty() || columns.is_none_or(|columns| measure_text_width(&line) <= columns) {
        return line.trim_end().to_owned();
    }
    format!("{label}{text}\n{}{more}", " ".repeat(measure_text_width(label)))
}

/// Of steps that take fewer images than a batch has, since the set has no more: a sentence for each batch and set.
fn small(table: &Table, costs: &[Cost]) -> String {
    let mut said: Vec<String> = Vec::new();
    for (cell, cost) in table.cells.iter().zip(costs) {
        let batch = cell.recipe.train.batch;
        let Some([train, _]) = cost.images else { continue };
        let (batch_text, images) = (format::count(batch), format::several(train, "image"));
        let one = format!("train.batch is {batch_text}: one step per epoch of all {images}.");
        if train < batch && !said.contains(&one) {
            said.push(one);
        }
    }
    said.join("\n")
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(1000);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:10.green/dim} {percent:>3} %  {msg}") {
        bar.set_style(style.progress_chars("━━╌"));
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_its_label_beside_it_on_every_terminal() {
        let said = ("accuracy 10.00 %", "2.6 s, memory 633 MiB");
        let whole = " 1/2  bp  seed 0  accuracy 10.00 %  2.6 s, memory 633 MiB";
        assert_eq!(beside(" 1/2  bp  seed 0  ", said, None), whole);
        assert_eq!(beside(" 1/2  bp  seed 0  ", said, Some(whole.len())), whole);
        let below = " 1/2  bp  seed 0  accuracy 10.00 %\n                  2.6 s, memory 633 MiB";
        assert_eq!(beside(" 1/2  bp  seed 0  ", said, Some(whole.len() - 1)), below);
        assert_eq!(
            beside(" 1/2  bp  seed 0  ", ("failed: it is long", ""), Some(9)),
            " 1/2  bp  seed 0  failed: it is long"
        );
    }
}
