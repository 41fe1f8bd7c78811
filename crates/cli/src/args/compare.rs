//! `mlaan compare`

use super::images::Sample;
use super::machine::Machine;
use super::output::Speech;
use super::settings::Settings;
use super::values::{parse_memory, parse_time, parse_whole};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// `mlaan compare`
#[derive(Args)]
#[command(
    after_help = EXAMPLES,
    mut_arg("set", |a| a.help("Change a key of every cell; may be given several times (`mlaan recipes --schema` lists the keys)")),
    mut_arg("quiet", |a| a.help("Print the tables only")),
    mut_arg("json", |a| a.help("Print one JSON object, that of compare.json"))
)]
pub struct CompareArgs {
    /// A suite (built in, or a TOML file) and recipes to set beside it, or recipes alone; nothing: list the suites
    #[arg(value_name = "SUITE|RECIPE")]
    pub what: Vec<String>,
    /// Number of seeds, from 0 on, or which ones (e.g. 0,3,4 or 3-5, or 2, with its comma for seed 2 alone)
    /// [default: the suite's, else 3]
    #[arg(long, value_name = "N|LIST|A-B", value_parser = parse_seeds)]
    pub seeds: Option<Seeds>,
    /// Where the images are: `builtin`, a path, or NAME=PATH where a suite wants several sets. On other images than those that it
    /// names, a suite runs with a size, batch and splits that suit them; its tables say so
    #[arg(long, value_name = "builtin|[NAME=]PATH")]
    pub data: Vec<String>,
    /// Passes over the training images
    #[arg(long, value_name = "N", value_parser = parse_whole::<usize>)]
    pub epochs: Option<usize>,
    /// Which images of the set.
    #[command(flatten)]
    pub sample: Sample,
    /// What replaces keys of every cell.
    #[command(flatten)]
    pub settings: Settings,
    /// Memory budget of every run beside the data set's images (e.g. 2GiB); where a cell needs more, auxiliary
    /// networks move to host memory (on a GPU), then recomputation is chosen, then activations in bf16, and a smaller batch if
    /// need be
    #[arg(long, value_name = "BYTES", value_parser = parse_memory)]
    pub memory: Option<usize>,
    /// Only these rows, columns or cells
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub only: Vec<String>,
    /// The row that others are tested against [default: the suite's, else bp, else the first of one module]
    #[arg(long, value_name = "ROW")]
    pub against: Option<String>,
    /// Time budget (e.g. 8h, 90min or 2d); no run begins that is not expected to end within it
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub time: Option<Duration>,
    /// Show what it would cost, and train nothing; speed is measured with a few steps
    #[arg(long)]
    pub plan: bool,
    /// Show and write the tables of what is there, and run nothing; without a suite or recipes those that --out keeps
    #[arg(long, conflicts_with = "plan")]
    pub show: bool,
    /// Folder of runs, results and tables [default: runs/ and the suite's name]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// What to compute with.
    #[command(flatten)]
    pub machine: Machine,
    /// What it prints.
    #[command(flatten)]
    pub speech: Speech,
}

const EXAMPLES: &str = "\
Examples:
  mlaan compare                               the built-in suites
  mlaan compare small --plan                  what it would cost here
  mlaan compare small --data cifar10/         runs what is missing
  mlaan compare small mine.toml --data cifar10/   with a variant of one's own
  mlaan compare table1-cifar10 --data cifar10/ --only resnet32-16 --time 8h
  mlaan compare small --data photos/          on one's own images
  mlaan compare bp-resnet32 mine.toml --seeds 5 --epochs 20 --data cifar10/
  mlaan compare small --show --out results/small   the tables of what is there
  mlaan compare --show --out runs/mine        as they were written last
  mlaan compare table3-memory                 memory beside the paper's

Runs lie in DIR/CELL/seed-N, tables in DIR/compare.json, .csv and .md, small records of finished runs in DIR/results: these \
alone, copied or committed, count as done too. Ctrl-C saves; the same command goes on.";

/// Which seeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(pub Vec<u64>);

/// More would not be run.
const MOST_SEEDS: u64 = 10_000;

fn parse_seeds(text: &str) -> Result<Seeds, String> {
    let wrong = || {
        "expected how many, from 1, or which: a list as 0,3,4, one as `2,` with its comma, or a range as 3-5"
            .to_owned()
    };
    if let Ok(n) = text.trim().parse() {
        return match n {
            0 => Err("at least one seed; seed 0 alone is `0,` or `--seeds 1`".into()),
            1..=MOST_SEEDS => Ok(Seeds((0..n).collect())),
            _ => Err(format!("at most {MOST_SEEDS}")),
        };
    }
    if !text.contains([',', '-']) {
        return Err(wrong());
    }
    let mut seeds: Vec<u64> = Vec::new();
    for part in text.strip_suffix(',').unwrap_or(text).split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u64, u64) = match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if first <= last => (first, last),
            _ => return Err(wrong()),
        };
        if last - first >= MOST_SEEDS {
            return Err(format!("at most {MOST_SEEDS}"));
        }
        seeds.extend(first..=last);
    }
    let given = seeds.len();
    seeds.sort_unstable();
    seeds.dedup();
    if seeds.len() < given { Err("a seed stands there twice".into()) } else { Ok(Seeds(seeds)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_counted_or_listed() {
        assert_eq!(parse_seeds("3").unwrap().0, [0, 1, 2]);
        assert_eq!(parse_seeds("7,0, 4").unwrap().0, [0, 4, 7]);
        assert_eq!(parse_seeds("5,").unwrap().0, [5]);
        assert_eq!(parse_seeds("0,").unwrap().0, [0]);
        assert_eq!(parse_seeds("2-4").unwrap().0, [2, 3, 4]);
        assert_eq!(parse_seeds("1-2, 7,").unwrap().0, [1, 2, 7]);
        assert!(parse_seeds("0").unwrap_err().contains("`0,`"));
        for text in
            ["0", "", "a", "1,1", "1,b", "-1", "99999999999", ",", "1,,2", "3-2", "1-2,2", "0-99999999999"]
        {
            assert!(parse_seeds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_units() {
        let seconds = |text| parse_time(text).map(|d| d.as_secs_f64());
        assert_eq!(seconds("8h"), Ok(28_800.0));
        assert_eq!(seconds("90min"), Ok(5_400.0));
        assert_eq!((seconds("1.5m"), seconds("2d"), seconds("30 s")), (Ok(90.0), Ok(172_800.0), Ok(30.0)));
        for text in ["8", "h", "-1h", "8w", "1e400h", "NaNs", ""] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
