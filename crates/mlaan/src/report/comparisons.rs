//! Tables of experiments beside the paper's.

use super::gather::Compared;
use super::html::{bars, table};
use super::runs::Group;
use super::{cells, curves, memory, pareto};
use crate::Result;
use crate::compare::{CellOutcome, Measure, Sheet};
use crate::plot::{Bar, Bars, Group as Bunch};
use maud::{Markup, html};

/// A comparison: tables, notes, errors and memory as bars, both against costs, curves.
///
/// # Errors
/// When a plot cannot be drawn.
pub fn comparison(compared: &Compared) -> Result<Markup> {
    let found = &compared.found;
    let done = found.cells.iter().flat_map(|c| &c.runs).filter(|r| r.state == "done").count();
    let all = found.cells.iter().map(|c| c.runs.len()).sum::<usize>();
    let failed = found.cells.iter().flat_map(|c| c.runs.iter().map(move |r| (c, r)));
    let failed: Vec<String> = failed
        .filter_map(|(c, r)| Some(format!("{}, seed {}: {}", c.name, r.seed, r.error.as_ref()?)))
        .collect();
    let (mut plots, mut curves_of, mut all_named) = (Vec::new(), Vec::new(), Vec::new());
    for column in &found.columns {
        let cells: Vec<(usize, &CellOutcome)> =
            found.cells.iter().enumerate().filter(|(_, c)| c.columns.contains(&column.name)).collect();
        let of = if found.columns.len() > 1 { format!(", {}", column.title) } else { String::new() };
        if found.measure == Measure::Error {
            plots.extend(errors(found, &cells, &of)?);
            plots.extend(pareto::pareto(found, &cells, &of)?);
            let named = cells.iter().map(|(i, c)| Group {
                name: found.row_title(c),
                ..compared.groups.get(*i).cloned().unwrap_or_default()
            });
            let named: Vec<Group> = named.collect();
            curves_of.push(curves::curves(&named.iter().collect::<Vec<_>>(), &of)?);
            all_named.extend(named.into_iter().map(|g| Group { name: format!("{}{of}", g.name), ..g }));
        }
    }
    let whole =
        |sentence: String| sentence.replace("(p = ", "(p\u{a0}=\u{a0}").replace("(p < ", "(p\u{a0}<\u{a0}");
    let sentences: Vec<String> = found.summary().into_iter().map(whole).collect();
    let (methods, classes) = (found.methods(), cells::cells(&all_named)?);
    Ok(html! {
        @if found.measure == Measure::Error { p { (done) " of " (all) " runs are done." } }
        @for f in failed { p { "Failed: " (f) } }
        @if !sentences.is_empty() {
            ul.summary { @for sentence in &sentences { li { (sentence) } } }
            p.note { (found.summary_note()) }
        }
        @if !methods.is_empty() {
            h3 { "What the methods are" }
            dl { @for (name, about) in &methods { dt { (name) } dd { (about) } } }
        }
        @for sheet in found.sheets() { (table(&sheet)) }
        @for note in found.notes() { p.note { (note) } }
        div.figures {
            @for plot in plots { (plot) }
            @if let Some(plot) = memory::compared(compared)? { (plot) }
            @for plot in curves_of { (plot) }
        }
        @if let Some(classes) = classes { (classes) }
    })
}

/// The test accuracy of every method, the paper's below it.
fn errors(
    found: &crate::compare::Comparison,
    cells: &[(usize, &CellOutcome)],
    of: &str,
) -> Result<Option<Markup>> {
    let group = |c: &CellOutcome| {
        let ours = c.test_error.map(|m| {
            let spread = m.sd.map_or_else(String::new, |sd| format!(" ± {sd:.2}"));
            // Beside the paper's it has to say whose it is.
            let whose = if c.paper.is_some() { "measured " } else { "" };
            let label = format!("{whose}{:.2}{spread} %", 100.0 - m.mean);
            Bar { value: 100.0 - m.mean, spread: m.sd, label, style: 0 }
        });
        let paper = c.paper.map(|p| {
            let difference = c.to_paper.map_or_else(String::new, |d| format!(", {:+.2} to it", -d));
            let label = format!("paper {:.2} %{difference}", 100.0 - p);
            Bar { value: 100.0 - p, spread: None, label, style: 1 }
        });
        Bunch { name: found.row_title(c), bars: ours.into_iter().chain(paper).collect() }
    };
    let groups: Vec<Bunch> =
        cells.iter().map(|(_, c)| group(c)).filter(|g: &Bunch| !g.bars.is_empty()).collect();
    if groups.is_empty() {
        return Ok(None);
    }
    let numbers = Sheet {
        title: format!("Test accuracy of every method{of}"),
        header: ["method", "test accuracy"].map(String::from).into(),
        rows: groups
            .iter()
            .flat_map(|g| g.bars.iter().map(|b| vec![g.name.clone(), b.label.clone()]))
            .collect(),
    };
    let plot = Bars { title: numbers.title.clone(), groups };
    let about = "Mean over the seeds after the last epoch; lines are one standard deviation to either side.";
    bars(&plot, about, &numbers).map(Some)
}
