//! Tables of results and the list of suites, for a terminal.

use crate::{format, output};
use anyhow::Result;
use mlaan::compare::{Comparison, Measure, Sheet, Suite};
use mlaan::text;

/// All tables of a comparison, and what must be known of them.
pub fn text(found: &Comparison) -> String {
    let sheets = found.sheets().into_iter().map(|s| sheet(&s));
    let notes = found.notes().into_iter().map(|n| format::dim(&wrapped(&text::line(&n))));
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

/// Broken at the terminal's width.
fn wrapped(text: &str) -> String {
    let width = usize::from(output::width()).min(120);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let full = lines
            .last()
            .is_some_and(|l| !l.is_empty() && l.chars().count() + 1 + word.chars().count() > width);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}
