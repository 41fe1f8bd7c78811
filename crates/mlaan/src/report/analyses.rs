//! Analyses of trained networks: separability, auxiliary classifiers, CKA, feature maps.

use super::gather::Analysed;
use super::html::{curve, digits, figure};
use crate::Result;
use crate::compare::Sheet;
use crate::plot::Heat;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};

/// An analysis.
///
/// # Errors
/// When a plot cannot be drawn.
pub fn analysis(analysed: &Analysed) -> Result<Markup> {
    let found = &analysed.found;
    let mut figures = Vec::new();
    if let Some(plot) = found.separability_plot() {
        let about = "A linear probe is fitted to the frozen, pooled values at each depth, and tested: the lower, the \
                     better the classes can be read there.";
        figures.push(curve(&plot, about)?);
    }
    if let Some(plot) = found.heads_plot() {
        let about = "What each module's own auxiliary classifier gets wrong of the test images, with running statistics.";
        figures.push(curve(&plot, about)?);
    }
    for (i, plot) in found.cka_plots() {
        let mean = found.subjects.get(i).and_then(|s| s.cka.as_ref()?.mean);
        let mean = mean.map_or_else(String::new, |m| format!(" Mean over equal depths: {m:.3}."));
        let about = format!(
            "Linear CKA of every layer with every layer of the other network, unbiased over minibatches: 1 is alike up to \
             rotation and scale, 0 is unrelated.{mean}"
        );
        figures.push(figure(plot.svg()?, &about, &heat(&plot)));
    }
    let [train, test] = found.images;
    Ok(html! {
        p { (found.data) ": " (train) " training and " (test) " test images; " (analysed.folder) "." }
        div.figures { @for f in figures { (f) } }
        @for (sheet, png) in found.features.iter().zip(&analysed.pictures) {
            @let class = sheet.label.as_ref().map_or_else(String::new, |l| format!(" ({l})"));
            @let said = found.subjects.iter().zip(&sheet.predictions).map(|(s, p)| format!("{} says {p}", s.name));
            @let said = said.collect::<Vec<_>>().join(", ");
            @let about = format!("Feature maps of image {}{class}: {said}.", sheet.image);
            figure {
                div.scroll tabindex="0" role="region" aria-label=(about) {
                    img.maps alt=(about) src=(format!("data:image/png;base64,{}", STANDARD.encode(png)));
                }
                figcaption { (about) " Above: mean over channels; below: the four strongest channels." }
            }
        }
    })
}

fn heat(plot: &Heat) -> Sheet {
    let value = |v: &Option<f64>| v.map_or_else(|| "–".into(), digits);
    let row = |(name, values): (&String, &Vec<Option<f64>>)| {
        std::iter::once(name.clone()).chain(values.iter().map(value)).collect()
    };
    Sheet {
        title: plot.title.clone(),
        header: std::iter::once(plot.y.clone()).chain(plot.columns.iter().map(|c| format!(">{c}"))).collect(),
        rows: plot.rows.iter().zip(&plot.values).map(row).collect(),
    }
}
