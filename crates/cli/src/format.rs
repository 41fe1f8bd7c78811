//! Numbers for people, and tables.

use crate::style;
use console::measure_text_width;
use mlaan::text;

/// Bytes, with three digits.
pub fn bytes(n: u64) -> String {
    mlaan::memory::bytes::written(n)
}

/// Three digits of a number.
pub fn digits(value: f64) -> String {
    match value {
        v if !v.is_finite() => "–".into(),
        v if v >= 99.95 => count(v.round() as usize),
        v if v >= 9.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// A whole number in groups of three digits.
pub fn count(n: usize) -> String {
    let plain = n.to_string();
    let mut grouped = String::new();
    for (i, c) in plain.chars().enumerate() {
        if i > 0 && (plain.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(c);
    }
    grouped
}

/// A number of things, one or several.
pub fn several(n: usize, one: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {one}{s}", count(n))
}

/// A number of classes.
pub fn classes(n: usize) -> String {
    format!("{} {}", count(n), if n == 1 { "class" } else { "classes" })
}

/// Names of a list that are shown.
const NAMED: usize = 5;

/// Where a network's values come from.
pub fn taken(taken: &mlaan::import::Taken) -> String {
    let classifier = match taken.new_classifier {
        true => "; the classifier is new, since the file has none for these classes: it has to be trained",
        false => "",
    };
    let average = if taken.average { " (an average)" } else { "" };
    let key = taken.key.as_ref().map_or_else(String::new, |key| format!(", {key}{average}"));
    let more = |what: &str, names: &[String]| match names.len() {
        0 => String::new(),
        n if n <= NAMED => format!(" {what}: {}.", names.join(", ")),
        n => {
            format!(" {what}: {} and {} more.", names.get(..NAMED).unwrap_or_default().join(", "), n - NAMED)
        }
    };
    let others = more("Left in the file (--key takes them)", &taken.others);
    let unused = more("Not part of the network", &taken.unused);
    let tensors = several(taken.tensors, "tensor");
    let remarks: String = taken.remarks.iter().map(|remark| format!(" {}", text::line(remark))).collect();
    format!("Weights of {}{key} ({tensors}){classifier}.{others}{unused}{remarks}", text::line(&taken.from))
}

/// Billions of floating-point operations.
pub fn giga(flops: u64) -> String {
    let value = flops as f64 / 1e9;
    if value > 0.0 && value < 0.00995 { format!("{value:.4}") } else { digits(value) }
}

/// A percentage.
pub fn percent(value: f64) -> String {
    if value.is_finite() { format!("{value:.2} %") } else { "–".into() }
}

/// A loss.
pub fn loss(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "–".into() }
}

/// A short stretch of time, with three digits.
pub fn duration_short(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() => "?".into(),
        s if s >= 9.995 => duration(s),
        s if s >= 0.9995 => format!("{} s", digits(s)),
        s if s >= 0.9995e-3 => format!("{} ms", digits(s * 1e3)),
        s => format!("{} µs", digits(s * 1e6)),
    }
}

/// A stretch of time.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "?".into();
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let s = seconds.round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3600),
    }
}

/// A stretch of time in few characters: minutes and seconds, or hours, minutes and seconds.
pub fn clock(seconds: f64) -> String {
    let s = seconds.clamp(0.0, 1e9).round() as u64;
    let (h, m, s) = (s / 3600, s % 3600 / 60, s % 60);
    if h > 0 { format!("{h}:{m:02}:{s:02}") } else { format!("{m}:{s:02}") }
}

/// As many of the fields, from the first on, as so many columns have room for; none is cut off but a first one that is too long.
pub fn fitting(fields: &[String], between: &str, room: usize) -> String {
    let mut text = String::new();
    for field in fields.iter().filter(|field| !field.is_empty()) {
        let more = if text.is_empty() { field.clone() } else { format!("{text}{between}{field}") };
        if measure_text_width(&more) > room {
            break;
        }
        text = more;
    }
    match fields.first() {
        Some(first) if text.is_empty() => first.chars().take(room).collect(),
        _ => text,
    }
}

/// `a / b` as a factor.
pub fn ratio(a: u64, b: u64) -> String {
    if b == 0 {
        return "–".into();
    }
    format!("{:.2}×", a as f64 / b as f64)
}

/// A heading: one line.
pub fn heading(words: &str) -> String {
    style::bold(&text::line(words))
}

/// Words beside the point.
pub use style::dim;

pub use crate::table::{fit, table, text};

/// The first and last of many, and where some are left out: `first`, an index each; `None` is the gap.
pub fn abridged(n: usize, most: usize) -> Vec<Option<usize>> {
    if n <= most {
        return (0..n).map(Some).collect();
    }
    let half = most / 2;
    (0..half).map(Some).chain([None]).chain((n - half..n).map(Some)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(bytes(17), "17 B");
        assert_eq!(bytes(1 << 20), "1.00 MiB");
        assert_eq!(bytes(1_048_000), "1.00 MiB");
        assert_eq!(digits(8021.7), "8,022");
        assert_eq!(bytes(150 << 20), "150 MiB");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(999), "999");
        assert_eq!(several(1, "image"), "1 image");
        assert_eq!(several(2000, "image"), "2,000 images");
        assert_eq!(duration(3.21), "3.2 s");
        assert_eq!(duration(65.0), "1 min 05 s");
        assert_eq!(duration(3600.0 * 26.0), "1 d 2 h");
        assert_eq!((clock(65.4), clock(3725.0)), ("1:05".into(), "1:02:05".into()));
        assert_eq!(percent(f64::NAN), "–");
        assert_eq!(digits(9.996), "10.0");
    }

    #[test]
    fn fields_without_room_are_left_out_whole() {
        let fields = ["loss 0.693", "accuracy 55.0 %", "", "0:03 left"].map(String::from);
        assert_eq!(fitting(&fields, ", ", 80), "loss 0.693, accuracy 55.0 %, 0:03 left");
        assert_eq!(fitting(&fields, ", ", 37), "loss 0.693, accuracy 55.0 %");
        assert_eq!(fitting(&fields, ", ", 26), "loss 0.693");
        assert_eq!(fitting(&fields, " · ", 28), "loss 0.693 · accuracy 55.0 %");
        assert_eq!((fitting(&fields, ", ", 4), fitting(&[], ", ", 4)), ("loss".into(), String::new()));
    }

    #[test]
    fn long_lists_lose_their_middle() {
        assert_eq!(abridged(3, 4), [Some(0), Some(1), Some(2)]);
        assert_eq!(abridged(9, 4), [Some(0), Some(1), None, Some(7), Some(8)]);
    }
}
