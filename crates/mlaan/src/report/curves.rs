//! Curves of groups of runs over their epochs.

use super::html::curve;
use super::runs::Group;
use crate::Result;
use crate::plot::{Lines, Series, colour};
use crate::train::metrics::Epoch;
use maud::{Markup, html};

/// Points of a curve beyond which markers would hide it.
const MARKED: usize = 40;

/// What is drawn over the epochs: title, axis, value.
type What = (&'static str, &'static str, fn(&Epoch) -> f64);

const ALL: [What; 5] = [
    ("Validation accuracy", "validation accuracy, %", |e| e.val_accuracy.unwrap_or(f64::NAN)),
    ("Test accuracy", "test accuracy, %", |e| e.test_accuracy),
    ("Training accuracy", "training accuracy, %", |e| e.train_accuracy),
    ("Test loss", "loss", |e| e.test_loss),
    ("Training loss", "loss", |e| e.train_loss),
];

/// Accuracies and losses by epoch, as far as they are there, and the modules' accuracies in the last one; `of` says of what.
///
/// # Errors
/// When a plot cannot be drawn.
pub fn curves(groups: &[&Group], of: &str) -> Result<Markup> {
    let several = groups.iter().any(|g| g.runs.len() > 1);
    let means =
        if several { "Means over the seeds; bands are one standard deviation to either side. " } else { "" };
    let mut figures = Vec::new();
    for (title, y, value) in ALL {
        let series = groups
            .iter()
            .enumerate()
            .map(|(i, g)| Series { band: g.band(value), ..series(i, &g.name, g.curve(value)) });
        let plot = lines(format!("{title}{of}"), "epoch", y, series.collect());
        let about = format!("{means}Of the network's own classifier, epoch by epoch.");
        figures.extend(plot.map(|plot| curve(&plot, &about)).transpose()?);
    }
    let of_modules = if several { "Means over the seeds. " } else { "" };
    let modules = groups.iter().enumerate().map(|(i, g)| series(i, &g.name, g.modules()));
    let modules = modules.filter(|s| s.points.len() > 1).collect();
    let plot = lines(format!("Modules in the last epoch{of}"), "module", "training accuracy, %", modules);
    let about = format!(
        "{of_modules}Accuracy of every module's auxiliary classifier on the training images, from the first module to the last; \
         in cascades, of the loss with the larger weight."
    );
    figures.extend(plot.map(|plot| curve(&plot, &about)).transpose()?);
    Ok(html! { @for f in figures { (f) } })
}

fn series(i: usize, name: &str, points: Vec<(f64, f64)>) -> Series {
    let filled = vec![true; points.len()];
    // Colours repeat; what comes again is dashed.
    let dashed = i >= colour::SERIES.len();
    Series { name: name.into(), points, filled, dashed, style: Some(i), ..Series::default() }
}

/// A plot, if there is anything to plot: one point is no curve.
fn lines(title: String, x: &str, y: &str, series: Vec<Series>) -> Option<Lines> {
    let series: Vec<Series> = series.into_iter().filter(|s| !s.points.is_empty()).collect();
    let longest = series.iter().map(|s| s.points.len()).max().filter(|n| *n > 1)?;
    let markers = longest <= MARKED;
    Some(Lines { title, x: x.into(), y: y.into(), markers, series, ..Lines::default() })
}
