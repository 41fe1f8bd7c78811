//! Values of arguments: how they are read, and what help calls them.

use mlaan::plan::Division;
use std::num::{IntErrorKind, ParseIntError};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The recipe that is used when none is named.
pub const DEFAULT_RECIPE: &str = "demo";

/// Names of devices, as help shows them.
pub const DEVICES: &str = "cpu|cuda|cuda:N";

pub fn parse_whole<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let too_large = || format!("expected a whole number, at most {}", usize::MAX);
    let number: u64 = text.parse().map_err(|e: ParseIntError| match e.kind() {
        IntErrorKind::PosOverflow => too_large(),
        _ => "not a whole number".into(),
    })?;
    T::try_from(number).map_err(|_| too_large())
}

pub fn parse_positive(text: &str) -> Result<usize, String> {
    match parse_whole(text)? {
        0 => Err("at least 1".into()),
        n => Ok(n),
    }
}

pub fn parse_number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "not a number".into())
}

pub fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a number and a unit (s, min, h or d), as 8h or 90min".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..).unwrap_or_default() {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let value: f64 = digits.trim().parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(value * unit).map_err(|_| wrong())
}

/// A number of ranks, or all from one to another.
pub fn parse_ranks(text: &str) -> Result<RangeInclusive<usize>, String> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let number = |text: &str| {
        parse_positive(text).map_err(|e| format!("expected a number of ranks, or a range as 1..4: {e}"))
    };
    let (from, to) = (number(from)?, number(to.trim_start_matches('='))?);
    if from <= to { Ok(from..=to) } else { Err(format!("{from} is more than {to}")) }
}

/// How modules are divided among ranks.
pub fn parse_division(text: &str) -> Result<Division, String> {
    match text {
        "time" => Ok(Division::Time),
        "memory" => Ok(Division::Memory),
        counts => {
            let counts: Result<Vec<usize>, String> =
                counts.split(',').map(|n| parse_positive(n.trim())).collect();
            counts
                .map(Division::Modules)
                .map_err(|e| format!("expected time, memory, or how many each has, as 6,5,5: {e}"))
        }
    }
}

/// Bytes a second, of bytes or of bits.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    let plain = text.trim().to_ascii_lowercase();
    let plain = plain.strip_suffix("/s").or_else(|| plain.strip_suffix("ps")).unwrap_or(&plain);
    let units = [
        ("tbit", 1.25e11),
        ("gbit", 1.25e8),
        ("mbit", 1.25e5),
        ("kbit", 125.0),
        ("tb", 1e12),
        ("gb", 1e9),
        ("mb", 1e6),
        ("kb", 1e3),
    ];
    let found = units.iter().find_map(|(unit, factor)| Some((plain.strip_suffix(unit)?, factor)));
    let value = found.and_then(|(number, factor)| Some(number.trim().parse::<f64>().ok()? * factor));
    let positive = |v: &f64| v.is_finite() && *v > 0.0;
    value.filter(positive).ok_or_else(|| "expected a number and a unit, as 10Gbit or 25GB (a second)".into())
}

/// A short time.
pub fn parse_latency(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a number and a unit (us, ms or s), as 50us".to_owned();
    let plain = text.trim().replace('µ', "u");
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let found = units.iter().find_map(|(unit, factor)| Some((plain.strip_suffix(unit)?, factor)));
    let (number, factor) = found.ok_or_else(wrong)?;
    let value: f64 = number.trim().parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(value * factor).map_err(|_| wrong())
}

/// Billions of operations a second.
pub fn parse_gflops(text: &str) -> Result<f64, String> {
    match parse_number(text)? {
        n if n.is_finite() && n > 0.0 => Ok(n),
        _ => Err("more than 0".into()),
    }
}

pub const PRECISIONS: &str = "f32|bf16";

pub fn parse_precision(text: &str) -> Result<String, String> {
    if PRECISIONS.split('|').any(|p| p == text) { Ok(text.into()) } else { Err("f32 or bf16".into()) }
}

pub const OPTIMIZERS: &str = "sgd|adamw|lars";

pub fn parse_optimizer(text: &str) -> Result<String, String> {
    if OPTIMIZERS.split('|').any(|o| o == text) { Ok(text.into()) } else { Err("sgd, adamw or lars".into()) }
}

pub fn parse_memory(text: &str) -> Result<usize, String> {
    mlaan::memory::bytes::parse(text).map_err(|e| match e {
        // The flag's name is said already.
        mlaan::Error::Data { message, .. } => message,
        e => e.to_string(),
    })
}

/// The largest number of threads that was asked for, where it is more than can run at once.
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// So many threads, but no more than this process can run at once: results do not depend on them, and each takes memory.
pub fn parse_threads(text: &str) -> Result<usize, String> {
    let (asked, cores) = (parse_positive(text)?, cores());
    if asked > cores {
        ASKED.fetch_max(asked, Ordering::Relaxed);
    }
    Ok(asked.min(cores))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What is said of threads that there are not; once, where a program runs several commands.
pub fn fewer_threads() -> Option<String> {
    let (asked, cores) = (ASKED.swap(0, Ordering::Relaxed), cores());
    let threads = |n: usize| crate::format::several(n, "thread");
    (asked > 0).then(|| {
        format!(
            "note: {} instead of {}: no more can run here at once, and results do not depend on them",
            threads(cores),
            crate::format::count(asked)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_name_their_bound() {
        assert_eq!(parse_whole::<u64>("18446744073709551615"), Ok(u64::MAX));
        let beyond = parse_whole::<u64>("18446744073709551616").unwrap_err();
        assert!(beyond.contains("at most 18446744073709551615"), "{beyond}");
        assert_eq!(parse_positive("99999999999999999999").unwrap_err(), beyond);
        assert!(parse_whole::<usize>("1e3").is_err() && parse_whole::<usize>("-1").is_err());
        assert_eq!(parse_positive("0"), Err("at least 1".into()));
    }

    #[test]
    fn no_more_threads_than_can_run() {
        assert_eq!(parse_threads("1"), Ok(1));
        assert_eq!(parse_threads("1000000"), Ok(cores()));
        assert!(fewer_threads().is_some_and(|said| said.contains("1,000,000")));
        assert!(parse_threads("0").is_err());
    }
}
