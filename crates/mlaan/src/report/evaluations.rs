//! Networks class by class: scores, the confusion matrix, calibration, the worst mistakes.

use super::html::{curve, digits, figure, table};
use super::runs::{Group, Run};
use crate::Result;
use crate::compare::Sheet;
use crate::evaluation::{Average, BINS, ClassScores, Evaluated, Evaluation, Mistake, Pair};
use crate::plot::{Heat, Lines, Series};
use crate::text::line;
use maud::{Markup, html};

/// Classes in a table, at most: of more, those with the lowest recall.
const ROWS: usize = 100;
/// Classes of a matrix that is drawn, at most.
const DRAWN: usize = 100;
/// Classes of a matrix that is a table, at most; of more the pairs that are confused most stand there.
const TABLE: usize = 30;
/// Such pairs, at most.
const PAIRS: usize = 100;
/// Characters of a class's name beside a matrix.
const NAME: usize = 12;

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
    let mistakes = (!found.mistakes.is_empty()).then(|| table(&mistakes(name, &found.mistakes)));
    Ok(html! {
        p { (about) }
        (table(&scores(name, found)))
        @if let Some(matrix) = confusion(name, found)? { (matrix) }
        (calibration(name, found)?)
        @if let Some(mistakes) = mistakes { (mistakes) }
    })
}

/// A fraction, or that there is none.
fn share(value: Option<f64>) -> String {
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

/// The confusion matrix as a picture, or of too many classes the pairs that are confused most; nothing of one class.
fn confusion(name: &str, found: &Evaluation) -> Result<Option<Markup>> {
    let n = found.classes.len();
    if n < 2 {
        return Ok(None);
    }
    let title = format!("Confusion, {name}");
    let numbers = if n <= TABLE { matrix(&title, found) } else { pairs(&title, found) };
    if n > DRAWN {
        return Ok(Some(table(&numbers)));
    }
    let shares = |class: usize| {
        let images = found.classes[class].images.max(1) as f64;
        let row = found.confusion.dense_row(class, n);
        row.into_iter().map(|k| (k > 0).then(|| k as f64 / images)).collect()
    };
    let short = |class: usize| {
        let name = line(&found.classes[class].name);
        let cut: String = name.chars().take(NAME).collect();
        format!("{class} {cut}{}", if name.chars().count() > NAME { "…" } else { "" })
    };
    let heat = Heat {
        title,
        x: "predicted class (its number)".into(),
        y: "class".into(),
        columns: (0..n).map(|class| class.to_string()).collect(),
        // The picture's rows go up.
        rows: (0..n).rev().map(short).collect(),
        values: (0..n).rev().map(shares).collect(),
    };
    let about = "A row per class: the fraction of its images that was predicted as each class, the right one on the diagonal.";
    Ok(Some(figure(heat.svg()?, about, &numbers)))
}

fn matrix(title: &str, found: &Evaluation) -> Sheet {
    let n = found.classes.len();
    let numbered = found.classes.iter().enumerate();
    let row = |(class, c): (usize, &ClassScores)| {
        let counts = found.confusion.dense_row(class, n).into_iter().map(|n| n.to_string());
        [format!("{class} {}", c.name)].into_iter().chain(counts).collect()
    };
    Sheet {
        title: format!("{title} (images)"),
        header: ["class".to_owned()].into_iter().chain((0..n).map(|class| format!(">{class}"))).collect(),
        rows: numbered.map(row).collect(),
    }
}

fn pairs(title: &str, found: &Evaluation) -> Sheet {
    let name = |class: u32| found.classes.get(class as usize).map_or_else(String::new, |c| c.name.clone());
    let row = |p: &Pair| vec![name(p.class), name(p.predicted), p.images.to_string()];
    Sheet {
        title: format!("{title}: the pairs with most images"),
        header: ["class", "predicted", ">images"].map(String::from).into(),
        rows: found.confusion.confused().iter().take(PAIRS).map(row).collect(),
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
    let ideal = series("as confident as right", vec![(0.0, 0.0), (100.0, 100.0)], true, 6);
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

fn mistakes(name: &str, all: &[Mistake]) -> Sheet {
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".into());
    let row = |m: &Mistake| {
        let image = m.image.clone().unwrap_or_else(|| format!("number {}", m.index));
        vec![image, m.class.clone(), or(&m.predicted), share(m.confidence), digits(m.loss)]
    };
    Sheet {
        title: format!("Mistakes with the highest loss, {name}"),
        header: ["image", "class", "predicted", ">confidence, %", ">loss"].map(String::from).into(),
        rows: all.iter().map(row).collect(),
    }
}
