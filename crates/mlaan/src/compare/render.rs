//! A comparison as tables for people, as Markdown and as CSV.

use super::outcome::{CellOutcome, Comparison};
use super::statistics::{Moments, Paired, visible};
use super::store::DIVERGED;
use super::suite::Measure;
use super::table::Heading;
use crate::memory::bytes::written;
use crate::text::{csv, markdown};

/// A table of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    /// Its heading.
    pub title: String,
    /// Names of its columns; numbers stand in those that begin with `>`.
    pub header: Vec<String>,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
}

const NONE: &str = "–";

impl Comparison {
    /// The tables: as the paper has them (where there are several networks), then every cell, then the tests.
    pub fn sheets(&self) -> Vec<Sheet> {
        let grid = (self.columns.len() > 1).then(|| self.grid());
        let rest = match self.measure {
            Measure::Error => vec![self.details(), self.tests()],
            Measure::Memory => vec![self.memory()],
        };
        grid.into_iter().chain(rest).filter(|s| !s.rows.is_empty()).collect()
    }

    /// What chose the best epochs.
    fn chosen_by(&self) -> &'static str {
        let done = || self.runs().filter(|r| r.best_epoch.is_some());
        match (done().any(|r| r.best_val_error.is_some()), done().any(|r| r.best_val_error.is_none())) {
            (true, false) => "is the test error after the epoch with the lowest validation error",
            (true, true) => {
                "is chosen by validation images where there are some, else by the test images, which flatters"
            }
            _ => "is chosen by the test images and flatters",
        }
    }

    /// What a reader must know of the numbers.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        match self.measure {
            Measure::Error => notes.push(format!(
                "Errors in percent after the last epoch, mean ± standard deviation (n − 1) over seeds; \"best\" {}. Tensor memory is of a training step, \
                 as planned, without the images of the data set; × BP: of backpropagation with the same network and batch. The measured peak of \
                 the process is in compare.csv. Time is as measured, with whatever else ran.",
                self.chosen_by()
            )),
            Measure::Memory => notes.push(
                "Memory of the tensors of a training step, without the images of the data set; GB are 10^9 bytes. The paper's are of another \
                 framework on a GPU: compare the ratios."
                    .into(),
            ),
        }
        if self.offloads() {
            notes.push(
                "Host: pinned memory of the host in which auxiliary networks are kept (local.offload); a step copies as much to the GPU \
                 and back. These cells are planned for a GPU wherever they are planned."
                    .into(),
            );
        }
        if self.cells.iter().any(|c| c.paper.is_some()) {
            if !self.source.is_empty() {
                notes.push(format!("The paper's numbers: {}.", self.source));
            }
            if !self.changes.is_empty() {
                notes.push(format!(
                    "Not the paper's conditions: changed in every cell were {}.",
                    self.changes.join(", ")
                ));
            }
        } else if !self.changes.is_empty() {
            notes.push(format!("Changed in every cell: {}.", self.changes.join(", ")));
        }
        if self.runs().any(|r| r.diverged) {
            notes.push(format!(
                "Diverged runs (a loss that is no number, or above {DIVERGED:.0} at the end) are counted beside the seeds, and \
                 stand in no mean and no test."
            ));
        }
        notes.extend(self.weakness());
        notes
    }

    /// Whether a cell keeps auxiliary networks in host memory.
    fn offloads(&self) -> bool {
        self.cells.iter().any(|c| c.cost.host_bytes > 0)
    }

    /// What the tests cannot see.
    fn weakness(&self) -> Option<String> {
        let n = self.cells.iter().filter_map(|c| c.test.map(|t| t.n)).min()?;
        let seen = visible(n)?;
        Some(format!(
            "Paired t-tests over {n} seeds against {}: a difference shows at 5 % only if its mean exceeds {seen:.2} times its \
             standard deviation between seeds. With so few seeds a large p says little, and says never that two methods are equal.",
            self.against.as_deref().map_or(NONE, |name| self.title_of(name))
        ))
    }

    /// Its method, as tables call it.
    pub(crate) fn row_title(&self, cell: &CellOutcome) -> String {
        self.rows.iter().find(|r| r.name == cell.row).map_or_else(|| cell.row.clone(), |r| r.title.clone())
    }

    /// Method and network.
    pub(crate) fn cell_title(&self, cell: &CellOutcome) -> String {
        if self.columns.len() < 2 { self.row_title(cell) } else { cell.name.clone() }
    }

    fn grid(&self) -> Sheet {
        let used = |c: &&Heading| self.rows.iter().any(|r| self.cell(&r.name, &c.name).is_some());
        let columns: Vec<&Heading> = self.columns.iter().filter(used).collect();
        let mut header = vec!["method".to_owned()];
        header.extend(columns.iter().map(|c| format!(">{}", c.title)));
        let text = |c: &CellOutcome| {
            let ours = match self.measure {
                Measure::Error => spread(c.test_error),
                Measure::Memory => gigabytes(c.step.as_ref().map_or(c.cost.memory_bytes as u64, |s| s.bytes)),
            };
            match c.paper {
                Some(paper) => format!("{ours} ({paper:.2})"),
                None => ours,
            }
        };
        let row = |name: &str, title: &str| {
            let found: Vec<_> = columns.iter().map(|c| self.cell(name, &c.name)).collect();
            let cells = found.iter().map(|c| c.map_or_else(|| NONE.into(), text));
            found.iter().any(Option::is_some).then(|| [title.to_owned()].into_iter().chain(cells).collect())
        };
        let rows = self.rows.iter().filter_map(|r| row(&r.name, &r.title)).collect();
        let what = match self.measure {
            Measure::Error => ": test error, %",
            Measure::Memory => "",
        };
        Sheet { title: format!("{}{what} (the paper's in brackets)", self.title), header, rows }
    }

    fn details(&self) -> Sheet {
        let paper = self.cells.iter().any(|c| c.paper.is_some());
        let mut header = vec![
            "method",
            ">seeds",
            ">accuracy, %",
            ">error, %",
            ">best error, %",
            ">best epoch",
            ">test loss",
            ">time",
            ">time × BP",
            ">tensor memory",
            ">memory × BP",
        ];
        let offloads = self.offloads();
        header.extend(offloads.then_some(">host"));
        header.push(">operations × BP");
        if paper {
            header.extend([">paper, %", ">here − paper"]);
        }
        let row = |c: &CellOutcome| {
            let done = c.runs.iter().filter(|r| r.state == "done" && !r.diverged).count();
            let diverged = match c.runs.iter().filter(|r| r.diverged).count() {
                0 => String::new(),
                n => format!(", {n} diverged"),
            };
            let epochs = c.runs.iter().filter(|r| !r.diverged).filter_map(|r| r.best_epoch);
            let mut row = vec![
                self.cell_title(c),
                format!("{done}/{}{diverged}", c.runs.len()),
                spread(c.test_error.map(rest)),
                spread(c.test_error),
                spread(c.best_test_error),
                span(epochs),
                spread(c.test_loss),
                c.seconds.map_or_else(|| NONE.into(), |m| duration(m.mean)),
                factor(c.to_plain.seconds),
                written(c.cost.memory_bytes as u64),
                factor(Some(c.to_plain.memory)),
            ];
            row.extend(offloads.then(|| host(c)));
            row.push(factor(Some(c.to_plain.operations)));
            if paper {
                row.push(c.paper.map_or_else(|| NONE.into(), |p| format!("{p:.2}")));
                row.push(c.to_paper.map_or_else(|| NONE.into(), |d| format!("{d:+.2}")));
            }
            row
        };
        Sheet {
            title: if self.columns.len() > 1 { "Every cell".into() } else { self.title.clone() },
            header: header.into_iter().map(str::to_owned).collect(),
            rows: self.cells.iter().map(row).collect(),
        }
    }

    fn tests(&self) -> Sheet {
        let header = ["method", ">difference", ">95 % interval", ">t", ">p", ">p (Holm)", ">seeds"];
        let row = |(c, t): (&CellOutcome, Paired)| {
            vec![
                self.cell_title(c),
                format!("{:+.2}", t.difference),
                format!("{:+.2} to {:+.2}", t.difference - t.half_width, t.difference + t.half_width),
                t.t.map_or_else(|| NONE.into(), |t| format!("{t:.2}")),
                probability(t.p),
                probability(t.p_holm),
                t.n.to_string(),
            ]
        };
        Sheet {
            title: format!(
                "Test error against {}, paired by seed",
                self.against.as_deref().map_or(NONE, |name| self.title_of(name))
            ),
            header: header.map(str::to_owned).to_vec(),
            rows: self.cells.iter().filter_map(|c| c.test.map(|t| (c, t))).map(row).collect(),
        }
    }

    fn memory(&self) -> Sheet {
        let offloads = self.offloads();
        let mut header = vec!["cell", ">batch", ">planned", ">measured", ">memory × BP"];
        header.extend(offloads.then_some(">host"));
        header.extend([">operations × BP", ">paper", ">paper × BP"]);
        let paper_ratio = |c: &CellOutcome| {
            let plain = self
                .cells
                .iter()
                .find(|p| p.cost.modules == 1 && p.columns.iter().any(|n| c.columns.contains(n)))?;
            Some(c.paper? / plain.paper?)
        };
        let row = |c: &CellOutcome| {
            let mut row = vec![
                c.name.clone(),
                c.cost.batch.to_string(),
                gigabytes(c.cost.memory_bytes as u64),
                c.step.as_ref().map_or_else(|| NONE.into(), |s| gigabytes(s.bytes)),
                factor(Some(c.to_plain.memory)),
            ];
            row.extend(offloads.then(|| host(c)));
            row.extend([
                factor(Some(c.to_plain.operations)),
                c.paper.map_or_else(|| NONE.into(), |p| format!("{p:.2} GB")),
                factor(paper_ratio(c)),
            ]);
            row
        };
        Sheet {
            title: "Every cell".into(),
            header: header.into_iter().map(str::to_owned).collect(),
            rows: self.cells.iter().map(row).collect(),
        }
    }

    /// All tables and notes.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n", markdown(&self.title));
        for sentence in self.summary() {
            text += &format!("\n- {}", markdown(&sentence));
        }
        if self.summary().is_empty() {
            text.truncate(text.trim_end().len());
        }
        text.push('\n');
        for sheet in self.sheets() {
            let align: Vec<&str> =
                sheet.header.iter().map(|h| if h.starts_with('>') { "---:" } else { "---" }).collect();
            let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
            text += &format!("\n## {}\n\n", markdown(&sheet.title));
            text += &line(sheet.header.iter().map(|h| markdown(h.strip_prefix('>').unwrap_or(h))).collect());
            text += &line(align.into_iter().map(str::to_owned).collect());
            for row in sheet.rows {
                text += &line(row.iter().map(|c| markdown(c)).collect());
            }
        }
        for note in self.notes() {
            text += &format!("\n{}\n", markdown(&note));
        }
        let [done, failed, all] = self.counts();
        if self.measure == Measure::Error {
            text += &format!(
                "\n{done} of {all} runs are done, {failed} failed; mlaan {}.\n",
                markdown(&self.version)
            );
        }
        text
    }

    /// One line per cell, numbers as they are; empty where there is none.
    pub fn csv(&self) -> String {
        // What was there first keeps its place.
        let header = "cell,row,columns,seeds,test_error_mean,test_error_sd,best_error_mean,best_error_sd,seconds_mean,seconds_sd,\
                      peak_bytes,planned_bytes,step_bytes,flops_per_image,time_ratio,peak_ratio,memory_ratio,operations_ratio,\
                      paper,difference_to_paper,difference_to_baseline,half_width_95,t,p,p_holm,test_accuracy_mean,\
                      test_accuracy_sd,test_loss_mean,test_loss_sd,host_bytes,moved_bytes\n";
        let lines = self.cells.iter().map(|c| {
            let number = |x: Option<f64>| x.map_or_else(String::new, |x| x.to_string());
            let two = |m: Option<Moments>| [number(m.map(|m| m.mean)), number(m.and_then(|m| m.sd))];
            let whole = |n: Option<u64>| n.map_or_else(String::new, |n| n.to_string());
            let names = [c.name.clone(), c.row.clone(), c.columns.join(" ")];
            let seeds = c.test_error.map_or(0, |m| m.n).to_string();
            let bytes =
                [c.peak_bytes, Some(c.cost.memory_bytes as u64), c.step.as_ref().map(|s| s.bytes)].map(whole);
            let t = c.test;
            let others = [
                Some(c.cost.flops),
                c.to_plain.seconds,
                c.to_plain.peak_bytes,
                Some(c.to_plain.memory),
                Some(c.to_plain.operations),
                c.paper,
                c.to_paper,
                t.map(|t| t.difference),
                t.map(|t| t.half_width),
                t.and_then(|t| t.t),
                t.and_then(|t| t.p),
                t.and_then(|t| t.p_holm),
            ];
            let fields: Vec<String> = names
                .into_iter()
                .map(|name| csv::text(&name))
                .chain([seeds])
                .chain(two(c.test_error))
                .chain(two(c.best_test_error))
                .chain(two(c.seconds))
                .chain(bytes)
                .chain(others.map(number))
                .chain(two(c.test_error.map(rest)))
                .chain(two(c.test_loss))
                .chain([c.cost.host_bytes, c.cost.moved_bytes].map(|n| n.to_string()))
                .collect();
            csv::record(fields) + "\n"
        });
        header.to_owned() + &lines.collect::<String>()
    }
}

/// Accuracies, where errors are known; percent.
fn rest(errors: Moments) -> Moments {
    Moments { mean: 100.0 - errors.mean, ..errors }
}

fn spread(m: Option<Moments>) -> String {
    match m {
        Some(Moments { mean, sd: Some(sd), .. }) => format!("{mean:.2} ± {sd:.2}"),
        Some(Moments { mean, .. }) => format!("{mean:.2}"),
        None => NONE.into(),
    }
}

/// The least and the greatest of some numbers.
fn span(numbers: impl Iterator<Item = usize> + Clone) -> String {
    match numbers.clone().min().zip(numbers.max()) {
        None => NONE.into(),
        Some((least, most)) if least == most => least.to_string(),
        Some((least, most)) => format!("{least} to {most}"),
    }
}

fn factor(x: Option<f64>) -> String {
    x.map_or_else(|| NONE.into(), |x| format!("{x:.2}"))
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}

/// What is kept in host memory.
fn host(c: &CellOutcome) -> String {
    if c.cost.host_bytes > 0 { gigabytes(c.cost.host_bytes as u64) } else { NONE.into() }
}

fn probability(p: Option<f64>) -> String {
    match p {
        Some(p) if p < 0.001 => "<0.001".into(),
        Some(p) => format!("{p:.3}"),
        None => NONE.into(),
    }
}

/// A stretch of time, with its largest unit.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}
