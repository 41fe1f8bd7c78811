//! Numbers of bytes as people write them.

use crate::{Error, Result};

/// Units that are understood, longest first.
const UNITS: [(&str, f64); 13] = [
    ("kib", 1024.0),
    ("mib", 1_048_576.0),
    ("gib", 1_073_741_824.0),
    ("tib", 1_099_511_627_776.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("tb", 1e12),
    ("k", 1024.0),
    ("m", 1_048_576.0),
    ("g", 1_073_741_824.0),
    ("t", 1_099_511_627_776.0),
    ("b", 1.0),
];

/// Whether there are none, for numbers that are written only where something is kept somewhere.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
pub(crate) fn is_zero(bytes: &usize) -> bool {
    *bytes == 0
}

/// Bytes with three digits, as `1.18 GiB`.
pub fn written(n: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (n as f64, 0);
    // 999.5 would be written with four digits.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    match value {
        _ if unit == 0 => format!("{n} B"),
        v if v >= 99.95 => format!("{} {}", v.round(), units[unit]),
        v if v >= 9.995 => format!("{v:.1} {}", units[unit]),
        v => format!("{v:.2} {}", units[unit]),
    }
}

/// Reads `2GiB`, `900MB`, `1.5G` or a number of bytes. `K`, `M`, `G` and `T` alone are powers of 1024, as with an
/// `i`; `KB`, `MB`, `GB` and `TB` are powers of 1000.
///
/// # Errors
/// What is no amount of memory, or none at all.
pub fn parse(text: &str) -> Result<usize> {
    let wrong = |what: &str| {
        let message = format!("`{text}` is {what}; write it as 2GiB, 900MB, 1.5G, or in bytes");
        Error::data("memory", message)
    };
    let plain = text.trim().to_ascii_lowercase();
    let unit = UNITS.iter().find_map(|(name, factor)| plain.strip_suffix(name).map(|rest| (rest, *factor)));
    let (number, factor) = unit.unwrap_or((&plain, 1.0));
    let number = number.trim();
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(wrong("no amount of memory"));
    }
    let bytes = number.parse::<f64>().map_err(|_| wrong("no amount of memory"))? * factor;
    // Beyond 2^53 a number of bytes is a typing mistake, and no longer exact.
    match bytes {
        b if b < 1.0 => Err(wrong("no memory at all")),
        b if b > 9e15 => Err(wrong("more than any machine has")),
        b => Ok(b as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_written() {
        let gib = 1usize << 30;
        let cases = [
            ("2GiB", 2 * gib),
            ("1.5G", gib + gib / 2),
            ("1.5 g", gib + gib / 2),
            ("900MB", 900_000_000),
            ("64k", 65_536),
            ("12345", 12_345),
            ("12345B", 12_345),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse(text).unwrap(), bytes, "{text}");
        }
        for text in ["0", "0GiB", "lots", "", "GiB", "-1G", "1e3", "1.2.3G", "2 GiB of it", "99999TiB", "inf"]
        {
            let err = parse(text).unwrap_err().to_string();
            assert!(err.contains("2GiB") && err.contains(text), "{text}: {err}");
        }
        assert_eq!(
            (written(17), written(1 << 20), written(1_048_000)),
            ("17 B".into(), "1.00 MiB".into(), "1.00 MiB".into())
        );
        assert_eq!(written(150 << 20), "150 MiB");
    }
}
