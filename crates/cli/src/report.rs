//! `mlaan report`: one page about runs, comparisons and analyses.

use crate::args::ReportArgs;
use crate::{format, output};
use anyhow::{Context, Result, bail};
use mlaan::files::atomic;
use mlaan::report::Material;
use mlaan::text;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes the page.
///
/// # Errors
/// Folders that hold nothing, files that cannot be read or written.
pub fn report(args: &ReportArgs) -> Result<ExitCode> {
    if args.out.is_dir() {
        bail!("{}: this is a folder; --out wants a file", args.out.display());
    }
    let material = Material::gather(&args.paths)?;
    let title = args.title.clone().unwrap_or_else(|| material.title());
    let page = material.page(&title, &today())?;
    if let Some(folder) = args.out.parent().filter(|p| *p != Path::new("")) {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{}: cannot be created", folder.display()))?;
    }
    let written = |e| mlaan::Error::Io { path: args.out.clone(), source: e };
    atomic::write(&args.out, |out| out.write_all(page.as_bytes()).map_err(written))?;
    let runs: usize = material.all_groups().map(|g| g.runs.len()).sum();
    let (comparisons, analyses) = (material.comparisons.len(), material.analyses.len());
    if args.output.json {
        let found = json!({
            "page": text::exact_path(&args.out), "bytes": page.len(), "runs": runs, "comparisons": comparisons, "analyses": analyses, "audits": material.audits.len(),
            "measurements": material.measured.len(),
        });
        output::json(&found)?;
        return Ok(ExitCode::SUCCESS);
    }
    let audits = material.audits.len();
    let counts = [(runs, "run"), (comparisons, "comparison"), (analyses, "analysis"), (audits, "audit")];
    let held = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format::several(*n, what));
    let held = held.collect::<Vec<_>>().join(", ").replace("analysiss", "analyses");
    let held = if held.is_empty() { "measurements".into() } else { held };
    let size = format::bytes(page.len() as u64);
    output::page(&format!("{}: {held}, {size}; open it in a browser", text::path(&args.out)))?;
    Ok(ExitCode::SUCCESS)
}

/// The date in UTC, as 2026-01-31.
fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    date(seconds / 86_400)
}

/// The date of a day since 1970 (Howard Hinnant's `civil_from_days`).
fn date(days: u64) -> String {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn days_are_dates() {
        for (days, expected) in
            [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (20_819, "2027-01-01")]
        {
            assert_eq!(date(days), expected);
        }
    }
}
