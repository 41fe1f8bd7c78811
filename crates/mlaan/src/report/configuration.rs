//! Every configuration and version, and how to do it again.

use super::gather::{Compared, Material};
use super::html::{duration, table};
use super::runs::{Group, Run};
use crate::compare::statistics::Moments;
use crate::compare::{Measure, Sheet};
use crate::memory::bytes::written;
use crate::text::{file_word, word};
use maud::{Markup, html};

/// Runs of their own, a line each.
pub fn runs(groups: &[Group]) -> Markup {
    let spread = |m: Option<Moments>| match m {
        Some(Moments { mean, sd: Some(sd), .. }) => format!("{mean:.2} ± {sd:.2}"),
        Some(m) => format!("{:.2}", m.mean),
        None => "–".into(),
    };
    let row = |g: &Group| {
        let epochs = g.runs.iter().map(|r| r.epochs.len()).min().unwrap_or(0);
        let open = g.runs.iter().filter(|r| r.summary.is_none()).count();
        let start = g.runs.iter().find_map(|r| r.start.as_ref());
        let about = |f: &dyn Fn(&crate::train::metrics::Start) -> String| start.map_or_else(|| "–".into(), f);
        vec![
            g.name.clone(),
            format!(
                "{}{}",
                g.runs.len(),
                if open > 0 { format!(" ({open} not ended)") } else { String::new() }
            ),
            about(&|s| s.modules.to_string()),
            about(&|s| s.data.clone()),
            epochs.to_string(),
            spread(g.moments(Run::test_accuracy)),
            spread(g.moments(Run::best_test_accuracy)),
            spread(g.moments(Run::test_loss)),
            spread(g.moments(Run::test_top5_accuracy)),
            duration(g.moments(|r| Some(r.seconds())).map_or(f64::NAN, |m| m.mean)),
            written(g.runs.iter().map(Run::peak_bytes).max().unwrap_or(0)),
        ]
    };
    let header = [
        "run",
        ">runs",
        ">modules",
        "data",
        ">epochs",
        ">test accuracy, %",
        ">test accuracy of the best epoch, %",
        ">test loss",
        ">top-5 accuracy, %",
        ">time",
        ">peak memory",
    ];
    let rows: Vec<Vec<String>> = groups.iter().map(row).collect();
    // What is the same everywhere says nothing: one run each, no fifth class.
    let shown = |i: &usize| {
        rows.iter().any(|row| row.get(*i).is_some_and(|cell| cell != ["1", "–"][usize::from(*i != 1)]))
    };
    let columns: Vec<usize> = (0..header.len()).filter(shown).collect();
    let of = |row: &[String]| columns.iter().filter_map(|&i| row.get(i).cloned()).collect();
    let several =
        if groups.iter().any(|g| g.runs.len() > 1) { ", mean ± standard deviation over seeds" } else { "" };
    table(&Sheet {
        title: format!("Runs: test accuracy and loss after the last epoch{several}"),
        header: columns.iter().filter_map(|&i| header.get(i)).map(|h| (*h).to_owned()).collect(),
        rows: rows.iter().map(|row| of(row)).collect(),
    })
}

/// What was set, by whom it was computed, and how to repeat it.
pub fn configuration(material: &Material) -> Markup {
    let commands = material.comparisons.iter().map(command);
    html! {
        @if !material.comparisons.is_empty() {
            p { "To repeat a comparison (" code { "--data" } " says where the images are):" }
            pre { code { (commands.collect::<Vec<_>>().join("\n")) } }
        }
        @if !material.groups.is_empty() {
            p { "To repeat a run, save its recipe below as " code { "recipe.toml" } " and set " code { "data.source" }
                " in it to the images' place:" }
            pre { code { "mlaan train recipe.toml --out runs/again" } }
        }
        @for c in &material.comparisons { @for (cell, group) in c.found.cells.iter().zip(&c.groups) {
            (recipe(&c.found.cell_title(cell), &cell.recipe, group))
        } }
        @for g in &material.groups {
            (recipe(&g.name, g.runs.first().map_or("", |r| r.recipe.as_str()), g))
        }
    }
}

fn recipe(name: &str, toml: &str, group: &Group) -> Markup {
    let row = |r: &Run| {
        let start = r.start.as_ref();
        let machine = r.machine.as_ref();
        let or = |text: Option<String>| text.unwrap_or_else(|| "–".into());
        vec![
            r.place.clone(),
            or(start.map(|s| s.seed.to_string())),
            or(start.map(|s| s.version.clone())),
            or(start.map(|s| s.device.clone())),
            or(start.map(|s| format!("{:?}", s.precision).to_lowercase())),
            or(machine.and_then(|m| m.processor.clone())),
            or(machine.map(|m| m.system.clone())),
            r.epochs.len().to_string(),
        ]
    };
    let header = ["place", ">seed", "version", "device", "precision", "processor", "system", ">epochs"];
    let sheet = Sheet {
        title: format!("Runs of {name}"),
        header: header.map(String::from).into(),
        rows: group.runs.iter().map(row).collect(),
    };
    html! {
        details {
            summary { (name) }
            @if !sheet.rows.is_empty() { (table(&sheet)) }
            @if !toml.is_empty() { pre tabindex="0" { code { (toml) } } }
        }
    }
}

/// The command that gives this comparison.
fn command(c: &Compared) -> String {
    let found = &c.found;
    let seeds: Vec<String> = found.seeds.iter().map(u64::to_string).collect();
    let first = found.seeds.iter().copied().eq(0..found.seeds.len() as u64);
    // One number says how many; a comma says which.
    let seeds = match first {
        true => seeds.len().to_string(),
        false => format!("{},", seeds.join(",")),
    };
    let set = found.changes.iter().map(|c| format!(" --set {}", word(c)));
    let what = if found.what.is_empty() { std::slice::from_ref(&found.name) } else { found.what.as_slice() };
    let trains = found.measure == Measure::Error;
    // Nothing is trained where memory is measured, and the built-in images stand among the changes.
    let builtin = found.changes.iter().any(|c| c.starts_with("data.source="));
    format!(
        "mlaan compare {}{}{} --out {}{}",
        what.iter().map(word).collect::<Vec<_>>().join(" "),
        if trains { format!(" --seeds {seeds}") } else { String::new() },
        set.collect::<String>(),
        file_word(&c.folder),
        if trains && !builtin { " --data DIR" } else { "" },
    )
}
