//! Tables of results and the list of suites, for a terminal.

use crate::{format, output};
use anyhow::Result;
use mlaan::compare::{Comparison, Measure, Sheet, Suite};
use mlaan::text;

/// All tables of a comparison, and what must be known of them.
pub fn text(found: &Comparison) -> String {
    let sheets = found.sheets().into_iter().map(|s| sheet(&s));
    let notes = found.notes().into_iter().map(|n| format::dim(&text::line(&n)));
    let sentences = found.summary();
    let summary = (!sentences.is_empty()).then(|| {
        let said: Vec<String> = sentences.iter().map(|s| format!(" - {}", text::line(s))).collect();
        format!("{}\n\n{}", said.join("\n"), format::dim(&found.summary_note()))
    });
    let sheets = sheets.chain(summary);
    format!("\n{}\n", sheets.chain(notes).collect::<Vec<_>>().join("\n\n"))
}

/// One table under its title.
pub fn sheet(s: &Sheet) -> String {
    let header: Vec<&str> = s.header.iter().map(String::as_str).collect();
    let mut table = format::table(&header);
    for row in &s.rows {
        table.add_row(row);
    }
    format!("{}\n\n{}", format::heading(&s.title), format::text(&table))
}

/// The built-in suites.
///
/// # Errors
/// A suite that cannot be read.
pub fn suites(builtin: &[(&str, &str)]) -> Result<String> {
    let mut table = format::table(&["suite", ">cells", ">seeds", "what"]);
    for (name, _) in builtin {
        let Some(suite) = Suite::find(name)? else { continue };
        let cells = suite.table(&[])?.cells.len();
        let seeds = if suite.measure == Measure::Memory { "–".into() } else { suite.seeds.to_string() };
        table.add_row([(*name).to_owned(), cells.to_string(), seeds, suite.title.clone()]);
    }
    format::fit(&mut table, output::width());
    let next = "mlaan compare SUITE --plan says what one costs here, mlaan compare --help the rest.";
    Ok(format!("{}\n\n{}", format::text(&table), format::dim(next)))
}
