//! Which classes are taken for which: the matrix where it fits the terminal, else the pairs that are confused most.

use crate::format;
use console::{measure_text_width, truncate_str};
use mlaan::evaluation::{Evaluation, Pair};
use mlaan::text;

/// Columns of a class's name at the most.
const NAME: usize = 16;
/// Pairs in the list.
const PAIRS: usize = 10;

/// Either; nothing of one class.
pub fn shown(found: &Evaluation, width: u16) -> Option<String> {
    let n = found.classes.len();
    (n > 1).then(|| matrix(found, usize::from(width))).map(|matrix| matrix.or_else(|| pairs(found)))?
}

/// The matrix in images, or where that is too wide, in percent of the class's images.
fn matrix(found: &Evaluation, width: usize) -> Option<String> {
    let n = found.classes.len();
    let name = |i: usize| truncate_str(&text::line(&found.classes[i].name), NAME, "…").into_owned();
    // No terminal has room for more, and the rows of very many would take long to make.
    let names: Vec<String> = (n * 3 < width).then(|| (0..n).map(name).collect())?;
    let name_width = names.iter().map(|n| measure_text_width(n)).max().unwrap_or(0);
    let index_width = (n - 1).to_string().len();
    let room = width.saturating_sub(1 + index_width + 1 + name_width);
    let rows: Vec<Vec<u64>> = (0..n).map(|class| found.confusion.dense_row(class, n)).collect();
    let largest = rows.iter().flatten().max().copied().unwrap_or(0);
    let counted = largest.to_string().len().max(index_width) + 1;
    let (cell, share) = if counted * n <= room { (counted, false) } else { (3, true) };
    if cell * n > room {
        return None;
    }
    let written = |class: usize, images: u64| match (images, found.classes[class].images) {
        (0, _) => "·".to_owned(),
        (n, all) if share => format!("{:.0}", 100.0 * n as f64 / all.max(1) as f64),
        (n, _) => n.to_string(),
    };
    let unit = if share { "percent" } else { "images" };
    let mut lines =
        vec![format!(" Confusion, {unit}: a row per class, a column per class it was predicted as")];
    let head: String = (0..n).map(|i| format!("{i:>cell$}")).collect();
    lines.push(format::dim(&format!("{}{head}", " ".repeat(1 + index_width + 1 + name_width))));
    for (class, row) in rows.into_iter().enumerate() {
        let padded = " ".repeat(name_width - measure_text_width(&names[class]));
        let cells = row.into_iter().enumerate().map(|(predicted, images)| {
            let cell = format!("{:>cell$}", written(class, images));
            if predicted == class { crate::style::bold(&cell) } else { cell }
        });
        lines.push(format!(" {class:>index_width$} {}{padded}{}", names[class], cells.collect::<String>()));
    }
    Some(lines.join("\n"))
}

/// The pairs that are confused most.
fn pairs(found: &Evaluation) -> Option<String> {
    let confused = found.confusion.confused();
    if confused.is_empty() {
        return None;
    }
    let mut table = format::table(&["class", "predicted as", ">images", ">of the class"]);
    for Pair { class, predicted, images } in confused.iter().take(PAIRS) {
        let (class, predicted) = (&found.classes[*class as usize], &found.classes[*predicted as usize]);
        let share = format::percent(100.0 * *images as f64 / class.images.max(1) as f64);
        let count = format::count(usize::try_from(*images).unwrap_or(usize::MAX));
        table.add_row([class.name.clone(), predicted.name.clone(), count, share]);
    }
    let more = match confused.len() {
        0..=PAIRS => String::new(),
        n => format!(
            "\n … {} more; --confusion FILE.csv writes the matrix",
            format::several(n - PAIRS, "pair")
        ),
    };
    Some(format!(" Confused most\n{}{more}", format::text(&table)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlaan::evaluation::Meter;

    /// `images` of every class; each tenth is taken for the next class.
    fn found(classes: usize, images: usize, name: &str) -> Evaluation {
        let mut meter = Meter::new(classes, classes * images, 0);
        for i in 0..classes * images {
            let (class, n) = (i / images, i % images);
            let guess = if n % 10 == 9 { (class + 1) % classes } else { class };
            let logits: Vec<f32> = (0..classes).map(|k| if k == guess { 2.0 } else { 0.0 }).collect();
            meter.add(i, &logits, class);
        }
        let names: Vec<String> = (0..classes).map(|i| format!("{name}{i}")).collect();
        meter.finish(&names, &|_| None)
    }

    /// As a terminal without colours shows it.
    fn plain(found: &Evaluation) -> String {
        crate::style::shown(&shown(found, 80).unwrap(), false)
    }

    #[test]
    fn ten_and_twenty_classes_fit_eighty_columns() {
        for (classes, images, unit) in [(10, 1000, "images"), (20, 50, "images"), (20, 1000, "percent")] {
            let text = plain(&found(classes, images, "a rather long name of a class "));
            assert!(text.contains(unit) && text.lines().count() == classes + 2, "{text}");
            assert!(text.lines().all(|l| measure_text_width(l) <= 80), "{text}");
        }
    }

    #[test]
    fn counts_stand_in_their_columns() {
        let text = plain(&found(3, 20, "猫"));
        let lines: Vec<&str> = text.lines().collect();
        let row = |cells: &str| cells.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(row(lines[1]), ["0", "1", "2"]);
        assert_eq!(row(lines[2]), ["0", "猫0", "18", "2", "·"]);
        assert_eq!(row(lines[4]), ["2", "猫2", "2", "·", "18"]);
        let widths: Vec<usize> = lines[1..].iter().map(|l| measure_text_width(l)).collect();
        assert!(widths.iter().all(|w| *w == widths[0]), "{text}");
    }

    #[test]
    fn of_many_classes_the_most_confused_are_listed() {
        let text = plain(&found(1000, 10, "class "));
        assert!(text.contains("Confused most") && text.contains("990 pairs more"), "{text}");
        assert!(text.contains("class 0") && text.contains("class 1") && text.contains("10.00 %"), "{text}");
        assert_eq!(shown(&found(1, 10, "one"), 80), None);
    }
}
