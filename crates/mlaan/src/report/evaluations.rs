//! Networks class by class: scores, the confusion matrix, calibration, the worst mistakes.

use super::confusion::Matrix;
use super::html::{curve, digits, table};
use super::runs::{Group, Run};
use crate::Result;
use crate::compare::Sheet;
use crate::evaluation::{Average, BINS, ClassScores, Evaluated, Evaluation, Mistake};
use crate::plot::{Lines, Series};
use crate::recipe::Recipe;
use maud::{Markup, html};
use std::path::Path;

/// Classes in a table, at most: of more, those with the lowest recall.
const ROWS: usize = 100;
/// Classes of a matrix that is drawn, at most.
const DRAWN: usize = 100;

/// One run of every group, the first whose evaluation is known; nothing where none is.
///
/// # Errors
/// When a plot cannot be drawn.
pub fn classes(groups: &[Group]) -> Result<Option<Markup>> {
    let evaluated = |run: &Run| run.evaluated.clone();
    let found = groups.iter().filter_map(|g| Some((g, g.runs.iter().find_map(evaluated)?)));
    let parts = found.map(|(g, evaluated)| one(g, &evaluated)).collect::<Result<Vec<_>>>()?;
    Ok((!parts.is_empty()).then(|| html! { @for part in parts { (part) } }))
}

fn one(group: &Group, evaluated: &Evaluated) -> Result<Markup> {
    let (name, found) = (&group.name, &evaluated.found);
    let of = match group.runs.len() {
        1 => String::new(),
        n => format!(" The first of its {n} runs."),
    };
    let about = format!(
        "{}, after epoch {}: accuracy {} % of {} images of {}{}, loss {}.{of} Precision, recall and F1 in percent, as \
         scikit-learn's classification_report has them.",
        name,
        evaluated.epoch,
        digits(found.accuracy),
        found.images,
        evaluated.data,
        found.top5_accuracy.map_or_else(String::new, |a| format!(", top-5 accuracy {} %", digits(a))),
        digits(found.loss)
    );
    let matrix = Matrix::of(&[found]).drawn(name, DRAWN)?;
    let source =
        group.runs.iter().find_map(|run| Recipe::kept(&run.recipe, &run.place).ok()).map(|r| r.data.source);
    let source = source.unwrap_or_default();
    let mistakes = (!found.mistakes.is_empty()).then(|| table(&mistakes(name, &found.mistakes, &source)));
    Ok(html! {
        p { (about) }
        (table(&scores(name, found)))
        @if let Some(matrix) = matrix { (matrix) }
        (calibration(name, found)?)
        @if let Some(mistakes) = mistakes { (mistakes) }
    })
}

/// A fraction, or that there is none.
pub(super) fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |v| format!("{v:.2}"))
}

fn scores(name: &str, found: &Evaluation) -> Sheet {
    let mut shown: Vec<&ClassScores> = found.classes.iter().collect();
    let some = match shown.len() {
        0..=ROWS => String::new(),
        n => format!(" (the {ROWS} of {n} classes with the lowest recall)"),
    };
    if shown.len() > ROWS {
        shown.sort_by(|a, b| b.error.unwrap_or(-1.0).total_cmp(&a.error.unwrap_or(-1.0)));
        shown.truncate(ROWS);
    }
    let row = |c: &&ClassScores| {
        vec![c.name.clone(), c.images.to_string(), share(c.precision), share(c.recall), share(c.f1)]
    };
    let average = |what: &str, a: Average| {
        vec![what.to_owned(), found.images.to_string(), share(a.precision), share(a.recall), share(a.f1)]
    };
    let averages = [("macro average", found.macro_average), ("weighted average", found.weighted_average)];
    Sheet {
        title: format!("Classes, {name}{some}"),
        header: ["class", ">images", ">precision, %", ">recall, %", ">F1, %"].map(String::from).into(),
        rows: shown.iter().map(row).chain(averages.map(|(what, a)| average(what, a))).collect(),
    }
}

/// Accuracy by confidence.
fn calibration(name: &str, found: &Evaluation) -> Result<Markup> {
    let filled = found.calibration.iter().filter_map(|b| Some((b.confidence?, b.accuracy?)));
    let points: Vec<(f64, f64)> = filled.filter(|p| p.0.is_finite() && p.1.is_finite()).collect();
    let Some(error) = found.calibration_error.filter(|_| !points.is_empty()) else {
        return Ok(html! {});
    };
    let series = |name: &str, points: Vec<(f64, f64)>, dashed: bool, style| {
        let filled = vec![!dashed; points.len()];
        Series { name: name.into(), points, filled, dashed, style: Some(style), ..Series::default() }
    };
    let ideal = series("perfectly calibrated", vec![(0.0, 0.0), (100.0, 100.0)], true, 6);
    let plot = Lines {
        title: format!("Calibration, {name}"),
        x: "confidence, %".into(),
        y: "accuracy, %".into(),
        markers: true,
        series: vec![series("accuracy", points, false, 0), ideal],
        ..Lines::default()
    };
    let about = format!(
        "Images in {BINS} bins by the probability of the guess; the expected calibration error is {} %.",
        digits(error)
    );
    curve(&plot, &about)
}

/// An image's path within the set at `source`: where that lies is nobody's business who gets the page.
fn inside(image: &str, source: &str) -> String {
    let separates = |c: char| c == '/' || c == '\\';
    // Not of a folder whose name only begins so, nor of a set that is one file.
    let below = |rest: &&str| rest.starts_with(separates) || source.ends_with(separates);
    let within = image.strip_prefix(source).filter(below).map(|rest| rest.trim_start_matches(separates));
    match within.filter(|rest| !rest.is_empty() && !source.is_empty()) {
        Some(rest) => rest.to_owned(),
        // A set that was moved, or whose recipe is not there: class and file.
        None if Path::new(image).is_absolute() => {
            let parts: Vec<&str> = image.rsplitn(3, ['/', '\\']).take(2).collect();
            parts.into_iter().rev().collect::<Vec<_>>().join("/")
        }
        None => image.to_owned(),
    }
}

fn mistakes(name: &str, all: &[Mistake], source: &str) -> Sheet {
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".into());
    let row = |m: &Mistake| {
        let image =
            m.image.as_ref().map_or_else(|| format!("number {}", m.index), |image| inside(image, source));
        vec![m.class.clone(), or(&m.predicted), share(m.confidence), digits(m.loss), image]
    };
    Sheet {
        title: format!("Mistakes with the highest loss, {name}"),
        header: ["class", "predicted", ">confidence, %", ">loss", "image"].map(String::from).into(),
        rows: all.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_called_by_their_place_in_the_set() {
        for (image, source, said) in [
            ("/home/a/photos/cat/1.jpg", "/home/a/photos", "cat/1.jpg"),
            ("/home/a/photos/cat/1.jpg", "/home/a/photos/", "cat/1.jpg"),
            ("photos/cat/1.jpg", "photos", "cat/1.jpg"),
            ("/home/a/photos/cat/1.jpg", "/mnt/photos", "cat/1.jpg"),
            ("/home/a/photos/cat/1.jpg", "", "cat/1.jpg"),
            ("/data/x.parquet, row 7", "/data", "x.parquet, row 7"),
            ("/data/x.parquet, row 7", "/data/x.parquet", "data/x.parquet, row 7"),
            ("photos-new/cat/1.jpg", "photos", "photos-new/cat/1.jpg"),
            ("cat/1.jpg", "", "cat/1.jpg"),
        ] {
            assert_eq!(inside(image, source), said, "{image} in {source}");
        }
    }
}
