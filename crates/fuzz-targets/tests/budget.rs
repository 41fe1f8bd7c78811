//! Every target over mutated inputs, for half a minute in all. The inputs are the same each time (but for times in the manifest);
//! `MLAAN_FUZZ_SEED=N` tries others, and `fuzz/run.sh` tries them for an hour.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write;
use std::time::{Duration, Instant};

use mlaan_fuzz_targets::TARGETS;
use mlaan_fuzz_targets::run::run;

/// Time for all targets; on a busy machine there are fewer inputs.
const ALL: Duration = Duration::from_secs(30);
/// Inputs of a target, at the most.
const MOST: u64 = 20_000;

#[test]
fn no_input_is_a_panic_and_none_takes_long() {
    let seed = std::env::var("MLAAN_FUZZ_SEED").map_or(1, |seed| seed.parse().unwrap());
    let folder = tempfile::tempdir().unwrap().keep();
    let start = Instant::now();
    for (n, target) in TARGETS.iter().enumerate() {
        let left = ALL.saturating_sub(start.elapsed()) / (TARGETS.len() - n) as u32;
        let corpus = (target.corpus)().len() as u64;
        assert!(corpus > 0, "{}: nothing to begin with", target.name);
        match run(target, seed, left, MOST, &folder) {
            Ok(ran) => {
                // Past what captures the output of tests: a run can be made again by its seed.
                let (name, inputs, slowest) = (target.name, ran.inputs, ran.slowest.0);
                writeln!(
                    std::io::stderr(),
                    "{name}: seed {seed}, {inputs} inputs, the slowest {slowest:.1?}"
                )
                .unwrap();
                assert!(ran.inputs > 0, "{}: no time for any input", target.name);
            }
            Err(found) => panic!("{}: panics; {} has the input", found.what, found.kept.display()),
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}
