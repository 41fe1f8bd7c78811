//! `mlaan-fuzz [--seconds N] [--seed N] [--input N] [--corpus DIR] [TARGET…]`: runs targets over mutated inputs, one after the
//! other; or one input only, or writes the valid inputs for cargo-fuzz to begin with.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mlaan_fuzz_targets::run::run;
use mlaan_fuzz_targets::{Mutator, TARGETS, Target};

/// Where inputs are kept that were found.
const FOUND: &str = "fuzz/found";

struct Asked {
    seconds: u64,
    seed: u64,
    /// Run only this one, and see what it does.
    input: Option<u64>,
    /// Only write the valid inputs into this folder.
    corpus: Option<String>,
    targets: Vec<&'static Target>,
}

fn main() -> ExitCode {
    let asked = match asked(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(2);
        }
    };
    let mut found = 0;
    for target in asked.targets {
        if let Some(number) = asked.input {
            let input = Mutator::new((target.corpus)()).input(asked.seed, number);
            println!("{}: seed {}, input {number}, {} bytes", target.name, asked.seed, input.len());
            (target.read)(&input);
            continue;
        }
        if let Some(folder) = &asked.corpus {
            for (n, input) in (target.corpus)().iter().enumerate() {
                if let Err(error) = std::fs::write(Path::new(folder).join(format!("valid-{n}")), input) {
                    eprintln!("error: {folder}: {error}");
                    return ExitCode::FAILURE;
                }
            }
            continue;
        }
        let time = Duration::from_secs(asked.seconds);
        match run(target, asked.seed, time, u64::MAX, Path::new(FOUND)) {
            Ok(ran) => println!(
                "{}: seed {}, {} inputs, the slowest {:.1?} (input {})",
                target.name, asked.seed, ran.inputs, ran.slowest.0, ran.slowest.1
            ),
            Err(error) => {
                println!("{}: panics; {} has the input", error.what, error.kept.display());
                found += 1;
            }
        }
    }
    ExitCode::from(u8::from(found > 0))
}

fn asked(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let mut asked = Asked { seconds: 60, seed: now, input: None, corpus: None, targets: Vec::new() };
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().ok_or(format!("{argument} needs a number"))?;
            value.parse::<u64>().map_err(|e| format!("{argument} {value}: {e}"))
        };
        match argument.as_str() {
            "--seconds" => asked.seconds = number()?,
            "--seed" => asked.seed = number()?,
            "--input" => asked.input = Some(number()?),
            "--corpus" => asked.corpus = Some(arguments.next().ok_or("--corpus needs a folder")?),
            name => {
                asked.targets.push(TARGETS.iter().find(|target| target.name == name).ok_or_else(|| {
                    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
                    format!("no target `{name}`; there are {}", names.join(", "))
                })?)
            }
        }
    }
    if asked.targets.is_empty() {
        asked.targets = TARGETS.iter().collect();
    }
    Ok(asked)
}
