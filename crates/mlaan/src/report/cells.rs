//! The methods of a comparison class by class, over their seeds.

use super::confusion::Matrix;
use super::evaluations::share;
use super::html::table;
use super::runs::Group;
use crate::Result;
use crate::compare::Sheet;
use crate::compare::statistics::Moments;
use crate::evaluation::Evaluation;
use maud::{Markup, html};

/// Classes in a table, at most: of more, those with the lowest recall.
const ROWS: usize = 30;
/// Classes of a matrix that is drawn, at most: a comparison has many.
const DRAWN: usize = 30;

/// Accuracy, recall and confusion of every method whose runs keep their evaluation, folded; nothing where none does.
///
/// # Errors
/// When a matrix cannot be drawn.
pub fn cells(groups: &[Group]) -> Result<Option<Markup>> {
    let parts = groups.iter().map(one).collect::<Result<Vec<_>>>()?;
    let parts: Vec<Markup> = parts.into_iter().flatten().collect();
    Ok((!parts.is_empty()).then(|| {
        html! {
            h3 { "Classes and confusion" }
            @for part in parts { (part) }
        }
    }))
}

fn one(group: &Group) -> Result<Option<Markup>> {
    let found: Vec<&Evaluation> =
        group.runs.iter().filter_map(|run| Some(&run.evaluated.as_ref()?.found)).collect();
    let accuracies: Vec<f64> = found.iter().map(|e| e.accuracy).collect();
    let Some(accuracy) = Moments::of(&accuracies) else { return Ok(None) };
    let seeds = if found.len() == 1 { "1 seed".to_owned() } else { format!("{} seeds", found.len()) };
    let matrix = Matrix::of(&found).drawn(&group.name, DRAWN)?;
    Ok(Some(html! {
        details.cell {
            summary { (group.name) ": test accuracy " (spread(Some(accuracy))) " %, " (seeds) }
            (table(&recalls(&group.name, &found)))
            @if let Some(matrix) = matrix { (matrix) }
        }
    }))
}

/// Mean ± standard deviation.
fn spread(of: Option<Moments>) -> String {
    let sd = of.and_then(|m| m.sd).map_or_else(String::new, |sd| format!(" ± {sd:.2}"));
    format!("{}{sd}", share(of.map(|m| m.mean)))
}

/// Recall of every class, and what its images are mistaken for most.
fn recalls(name: &str, found: &[&Evaluation]) -> Sheet {
    let (names, images) = found.first().map(|e| e.names()).unwrap_or_default();
    let alike: Vec<&&Evaluation> = found.iter().filter(|e| e.names().0 == names).collect();
    let recall = |class: usize| {
        let all: Vec<f64> = alike.iter().filter_map(|e| e.classes.get(class)?.recall).collect();
        Moments::of(&all)
    };
    let mut classes: Vec<usize> = (0..names.len()).collect();
    let some = match classes.len() {
        0..=ROWS => String::new(),
        n => format!(" (the {ROWS} of {n} classes with the lowest recall)"),
    };
    if classes.len() > ROWS {
        let mean = |class: &usize| recall(*class).map_or(f64::INFINITY, |m| m.mean);
        classes.sort_by(|a, b| mean(a).total_cmp(&mean(b)));
        classes.truncate(ROWS);
    }
    let row = |&class: &usize| {
        vec![
            names[class].clone(),
            images[class].to_string(),
            spread(recall(class)),
            mistaken(class, &names, &alike),
        ]
    };
    Sheet {
        title: format!("Classes, {name}{some}"),
        header: ["class", ">test images", ">recall, %", "most often mistaken for"].map(String::from).into(),
        rows: classes.iter().map(row).collect(),
    }
}

/// The other class that most of a class's images are taken for, and which fraction of them.
fn mistaken(class: usize, names: &[String], all: &[&&Evaluation]) -> String {
    let mut counts = vec![0_u64; names.len()];
    let mut images = 0;
    for found in all {
        let row = found.confusion.dense_row(class, names.len());
        counts.iter_mut().zip(row).for_each(|(sum, n)| *sum = sum.saturating_add(n));
        images += found.classes.get(class).map_or(0, |c| c.images);
    }
    let others = counts.iter().enumerate().filter(|(other, n)| *other != class && **n > 0);
    // The first of several.
    let most = others.max_by_key(|(other, n)| (**n, std::cmp::Reverse(*other)));
    most.map_or_else(
        || "–".into(),
        |(other, n)| format!("{} ({:.1} %)", names[other], 100.0 * *n as f64 / images.max(1) as f64),
    )
}
