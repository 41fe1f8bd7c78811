//! How the ranks of a run are doing, a row each.

use crate::format;
use mlaan::ranks::World;
use mlaan::text;
use mlaan::train::Trainer;
use std::sync::Arc;

/// What is asked for their rows.
#[derive(Clone)]
pub struct Ranks {
    world: Arc<World>,
    /// Of each: its modules, and bytes that it needs as planned.
    parts: Vec<(String, u64)>,
}

/// How a rank is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct RankRow {
    /// Its modules, as `3 to 7`.
    pub modules: String,
    /// Percent of its time in steps that its stage works, and that it waits for others; NaN before the first.
    pub busy: f64,
    pub waiting: f64,
    /// Bytes that it has held at the most, and that are planned.
    pub memory: u64,
    pub planned: u64,
}

impl Ranks {
    /// Those of a run, where there are several.
    pub fn of(trainer: &Trainer) -> Option<Self> {
        let part =
            |stage: &mlaan::plan::StagePlan| (text::range(&stage.modules), stage.needs().memory() as u64);
        let parts = trainer.plan().stages.iter().map(part).collect();
        Some(Ranks { world: Arc::clone(trainer.world()?), parts })
    }

    /// A row for each, as its last sign of life said.
    pub fn rows(&self) -> Vec<RankRow> {
        let row = |(status, (modules, planned)): (mlaan::ranks::RankStatus, &(String, u64))| {
            let all = (status.busy + status.waited).as_secs_f64();
            RankRow {
                modules: modules.clone(),
                busy: 100.0 * status.busy.as_secs_f64() / all,
                waiting: 100.0 * status.waited.as_secs_f64() / all,
                memory: status.memory,
                planned: *planned,
            }
        };
        self.world.statuses().into_iter().zip(&self.parts).map(row).collect()
    }
}

/// A share of time; none before there is any.
pub fn share(percent: f64) -> String {
    if percent.is_finite() { format!("{percent:.0} %") } else { "–".into() }
}

/// A table of them.
pub fn table(rows: &[RankRow]) -> String {
    let mut table = format::table(&["rank", "modules", ">busy", ">waiting", ">memory", ">planned"]);
    for (k, row) in rows.iter().enumerate() {
        table.add_row([
            k.to_string(),
            row.modules.clone(),
            share(row.busy),
            share(row.waiting),
            format::bytes(row.memory),
            format::bytes(row.planned),
        ]);
    }
    format::text(&table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_every_rank() {
        let row = |busy: f64| RankRow {
            modules: "3 to 7".into(),
            busy,
            waiting: 100.0 - busy,
            memory: 34 << 20,
            planned: 40 << 20,
        };
        let text = table(&[row(71.4), row(f64::NAN)]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("busy") && lines[0].contains("waiting"), "{text}");
        assert!(
            lines[2].contains("71 %") && lines[2].contains("29 %") && lines[2].contains("34.0 MiB"),
            "{text}"
        );
        assert!(lines[3].trim_start().starts_with('1') && lines[3].contains("–"), "{text}");
    }
}
