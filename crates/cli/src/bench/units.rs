//! Numbers of measurements in words.

use crate::format;

/// A time between a nanosecond and an hour, with three digits.
pub fn seconds(s: f64) -> String {
    match s {
        s if s >= 1.0 => format!("{} s", format::digits(s)),
        s if s >= 1e-3 => format!("{} ms", format::digits(1e3 * s)),
        _ => format!("{} µs", format::digits(1e6 * s)),
    }
}

/// Billions.
pub fn giga(value: f64) -> String {
    format::digits(value / 1e9)
}
