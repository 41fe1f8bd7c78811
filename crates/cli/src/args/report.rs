//! `mlaan report`

use super::output::Output;
use clap::Args;
use std::path::PathBuf;

/// `mlaan report`
#[derive(Args)]
#[command(
    after_help = EXAMPLES,
    mut_arg("json", |a| a.help("Print one JSON object that says what is in the page"))
)]
pub struct ReportArgs {
    /// Folders of runs, of comparisons or of analyses, or folders of these; JSON files of bench/compare.py
    #[arg(required = true, value_name = "DIR")]
    pub paths: Vec<PathBuf>,
    /// The page
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    pub out: PathBuf,
    /// Its heading [default: the name of the run or comparison]
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// For machines.
    #[command(flatten)]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  mlaan report runs/demo
  mlaan report runs/small   a comparison, its runs, and analyses of them
  mlaan report runs/small runs/mine bench/results/memory.json --out page.html

The page is one file that needs no network: curves, tables beside the paper's, memory, analyses with their pictures, every \
configuration. Each plot has its numbers as a table.";
