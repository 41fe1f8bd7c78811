//! Memory as bars: planned, measured, and PyTorch's.

use super::gather::{Compared, Measured};
use super::html::bars;
use super::runs::Group as Runs;
use crate::Result;
use crate::compare::{Measure, Sheet};
use crate::memory::bytes::written;
use crate::plot::{Bar, Bars, Group};
use maud::{Markup, html};

/// Colours of kinds of bars.
const PLANNED: usize = 5;
const MEASURED: usize = 0;
const OTHERS: usize = 1;
const HOST: usize = 2;

/// Memory of a comparison's cells; nothing where nothing is known.
///
/// # Errors
/// When the plot cannot be drawn.
pub fn compared(compared: &Compared) -> Result<Option<Markup>> {
    let cells = compared.found.cells.iter();
    let groups = cells.map(|c| {
        let most = |f: fn(&crate::compare::RunOutcome) -> Option<u64>| c.runs.iter().filter_map(f).max();
        let step = c.step.as_ref().map(|s| s.bytes);
        // A measured step has no data set's images, and neither has the plan beside it.
        let planned = match step {
            Some(_) => Some(c.cost.memory_bytes as u64),
            None => most(|r| r.planned_bytes),
        };
        let paper = c.paper.filter(|_| step.is_some()).map(|gb| (gb * 1e9) as u64);
        let bars = [
            ("planned", planned, PLANNED),
            ("measured", step.or(c.peak_bytes), MEASURED),
            ("host memory, beside it", Some(c.cost.host_bytes as u64).filter(|n| *n > 0), HOST),
            ("the paper (PyTorch on a GPU)", paper, OTHERS),
        ];
        Group { name: compared.found.cell_title(c), bars: bars.into_iter().filter_map(bar).collect() }
    });
    let (title, about) = match compared.found.measure {
        Measure::Error => (
            "Peak memory of the process",
            "With the images, the program and what its libraries hold: as planned before the run, and as measured. Tables have the \
             tensors alone.",
        ),
        Measure::Memory => (
            "Tensor memory",
            "Of a training step without the images of the data set: as planned, and as measured.",
        ),
    };
    plot(title, groups.collect(), about)
}

/// Memory of runs of their own.
///
/// # Errors
/// When the plot cannot be drawn.
pub fn runs(groups: &[Runs]) -> Result<Option<Markup>> {
    let groups = groups.iter().map(|g| {
        let most = |f: &dyn Fn(&super::Run) -> Option<u64>| g.runs.iter().filter_map(f).max();
        let measured = most(&|r| Some(r.peak_bytes()).filter(|b| *b > 0));
        let bars = [
            ("planned", most(&super::Run::planned_bytes), PLANNED),
            ("measured", measured, MEASURED),
            ("backpropagation, planned", most(&super::Run::backpropagation_bytes), OTHERS),
        ];
        Group { name: g.name.clone(), bars: bars.into_iter().filter_map(bar).collect() }
    });
    plot(
        "Peak memory of the process",
        groups.collect(),
        "During training, with the images of the data set, the program and its libraries.",
    )
}

/// Memory beside PyTorch.
///
/// # Errors
/// When the plot cannot be drawn.
pub fn beside_pytorch(measured: &[Measured]) -> Result<Option<Markup>> {
    let groups = measured.iter().map(|m| {
        let style = |what: &str| match (what.starts_with("PyTorch"), what.ends_with("planned")) {
            (true, _) => OTHERS,
            (_, true) => PLANNED,
            _ => MEASURED,
        };
        let bars = m.bytes.iter().filter_map(|(what, bytes)| bar((what, Some(*bytes), style(what))));
        Group { name: m.name.clone(), bars: bars.collect() }
    });
    let mut machines: Vec<&str> = measured.iter().map(|m| m.machine.as_str()).collect();
    machines.dedup();
    let found = plot(
        "Memory beside PyTorch",
        groups.collect(),
        "By how much a process grew while it trained, on the same machine; planned is what mlaan says before.",
    )?;
    Ok(found.map(|figure| html! { (figure) @for m in machines { pre { code { (m) } } } }))
}

fn bar((what, bytes, style): (&str, Option<u64>, usize)) -> Option<Bar> {
    let bytes = bytes?;
    Some(Bar { value: bytes as f64, spread: None, label: format!("{what} {}", written(bytes)), style })
}

fn plot(title: &str, groups: Vec<Group>, about: &str) -> Result<Option<Markup>> {
    let groups: Vec<Group> = groups.into_iter().filter(|g| !g.bars.is_empty()).collect();
    // A single bar has nothing to be compared with; tables have its number.
    if groups.iter().map(|g| g.bars.len()).sum::<usize>() < 2 {
        return Ok(None);
    }
    let row = |g: &Group, b: &Bar| vec![g.name.clone(), b.label.clone(), format!("{:.0}", b.value)];
    let numbers = Sheet {
        title: title.into(),
        header: ["of", "what", ">bytes"].map(String::from).into(),
        rows: groups.iter().flat_map(|g| g.bars.iter().map(|b| row(g, b))).collect(),
    };
    bars(&Bars { title: title.into(), groups }, about, &numbers).map(Some)
}
