//! An analysis for people to read.

use crate::format;
use mlaan::analyze::{Analysis, Studied};
use mlaan::text::line;
use std::path::{Path, PathBuf};

/// The tables, and where the files are.
pub fn text(report: &Analysis, out: &Path, files: &[PathBuf]) -> String {
    let [train, test] = report.images;
    let images =
        format!("{} and {}", format::several(train, "training image"), format::several(test, "test image"));
    let mut parts = vec![format!("{}: {images}", line(&report.data))];
    parts.extend(separability(report));
    parts.extend(cka(report));
    parts.extend(heads(report));
    let names = files.iter().filter_map(|f| f.file_name()).map(mlaan::text::path);
    parts.push(format!("{}: {}", mlaan::text::path(out), names.collect::<Vec<_>>().join(", ")));
    parts.join("\n\n")
}

/// Rows by place, a column per checkpoint; `marks`: what a star means.
fn by_place(title: &str, subjects: &[&Studied], cell: impl Fn(&Studied, usize) -> String) -> String {
    let heads: Vec<String> = subjects.iter().map(|s| format!(">{}", s.name)).collect();
    let header: Vec<&str> = std::iter::once("after").chain(heads.iter().map(String::as_str)).collect();
    let mut table = format::table(&header);
    let deepest = subjects.iter().max_by_key(|s| s.places.len());
    for place in deepest.map_or(&[][..], |s| &s.places) {
        let cells = subjects.iter().map(|s| cell(s, place.place));
        table.add_row(std::iter::once(place.name.clone()).chain(cells));
    }
    format!("{}\n{}", format::heading(title), format::text(&table))
}

fn separability(report: &Analysis) -> Option<String> {
    let subjects: Vec<&Studied> = report.subjects.iter().filter(|s| s.separability.is_some()).collect();
    let all = || subjects.iter().filter_map(|s| s.separability.as_ref()).flat_map(|s| &s.places);
    let cell = |s: &Studied, place: usize| {
        let found = s.separability.as_ref().and_then(|f| f.places.iter().find(|p| p.at.place == place));
        found.map_or_else(String::new, |p| {
            let end = if p.at.module_end { "*" } else { "" };
            format!("{}{end}", format::percent(p.test_error))
        })
    };
    let table = by_place("Linear separability: test error of linear probes", &subjects, cell);
    let table = if table.contains('*') { format!("{table}\n * a module ends here") } else { table };
    let open = all().filter(|p| !p.converged).count();
    let warning = format!("\n {}: not converged; its error may still change", format::several(open, "probe"));
    (!subjects.is_empty()).then(|| if open > 0 { table + &warning } else { table })
}

fn cka(report: &Analysis) -> Option<String> {
    let subjects: Vec<&Studied> = report.subjects.iter().filter(|s| s.cka.is_some()).collect();
    let against = subjects.first()?.cka.as_ref()?.against.clone();
    let written = |v: Option<f64>| v.map_or_else(|| "–".into(), |v| format!("{v:.3}"));
    let cell = |s: &Studied, place: usize| {
        let row = s.cka.as_ref().and_then(|c| c.matrix.get(place));
        written(row.and_then(|r| r.get(place).copied().flatten()))
    };
    let table = by_place(&format!("Linear CKA with {against}, at the same depth"), &subjects, cell);
    let means = subjects
        .iter()
        .map(|s| format!("{} {}", line(&s.name), written(s.cka.as_ref().and_then(|c| c.mean))));
    Some(format!("{table}\n mean over layers: {}", means.collect::<Vec<_>>().join(", ")))
}

fn heads(report: &Analysis) -> Option<String> {
    let subjects: Vec<&Studied> = report.subjects.iter().filter(|s| s.heads.is_some()).collect();
    let cell = |s: &Studied, place: usize| {
        let found = s.heads.as_ref().and_then(|h| h.modules.iter().find(|m| m.place == place));
        let both = found.map(|m| [m.independent, m.cascaded].into_iter().flatten().map(format::percent));
        both.map_or_else(String::new, |b| b.collect::<Vec<_>>().join(" / "))
    };
    let all = || subjects.iter().filter_map(|s| s.heads.as_ref());
    let title = match all().any(|h| h.modules.iter().any(|m| m.cascaded.is_some())) {
        true => "Auxiliary classifiers: test error (independent / cascaded)",
        false => "Auxiliary classifiers: test error",
    };
    // Behind the last module stands no auxiliary network.
    let mut ends: Vec<&str> = all().filter_map(|h| h.modules.last()).map(|m| m.name.as_str()).collect();
    ends.dedup();
    let table = by_place(title, &subjects, cell);
    let own = format!("{table}\n {}: the network's own classifier, behind its last module", ends.join(", "));
    (!subjects.is_empty()).then_some(own)
}
