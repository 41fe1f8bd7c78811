//! All numbers of an analysis: what `analysis.json` holds.

use super::cka::Cka;
use super::features::FeatureSheet;
use super::heads::Heads;
use super::separability::Separability;
use super::{Place, Subject};
use crate::files::{self, atomic};
use crate::numbers::read_json;
use crate::text::csv;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Version of the layout of [`Analysis`].
const VERSION: u32 = 1;

/// An analysis of checkpoints over one set of images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// 1; raised when a reader of an older version would misread it.
    pub version: u32,
    /// What the images are called.
    pub data: String,
    /// Training and test images.
    pub images: [usize; 2],
    /// Per checkpoint, as they were named.
    pub subjects: Vec<Studied>,
    /// Pictures of feature maps, one per image.
    pub features: Vec<FeatureSheet>,
}

/// What was found about one checkpoint; what was not asked for, or does not apply, is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Studied {
    /// What pictures call it.
    pub name: String,
    /// The checkpoint.
    pub path: String,
    /// Its finished epochs.
    pub epoch: usize,
    /// Its test error when it was saved, percent, over its run's test images; none before the first epoch.
    pub test_error: Option<f64>,
    /// Its run's recipe, every key spelt out.
    pub recipe: String,
    /// Its places.
    pub places: Vec<Place>,
    /// A linear classifier at each place.
    pub separability: Option<Separability>,
    /// Likeness to another network.
    pub cka: Option<Cka>,
    /// Its own auxiliary classifiers.
    pub heads: Option<Heads>,
}

impl Analysis {
    /// Nothing found yet.
    pub fn new(data: impl Into<String>, images: [usize; 2]) -> Self {
        Analysis { version: VERSION, data: data.into(), images, subjects: Vec::new(), features: Vec::new() }
    }

    /// Reads `path`.
    ///
    /// # Errors
    /// When it cannot be read, or is not an analysis of this version.
    pub fn read(path: &Path) -> Result<Self> {
        let text = files::read(path, files::ANALYSIS)?;
        let wrong = |m: String| Error::data(path.display().to_string(), m);
        let report: Self = read_json(&text).map_err(|e| wrong(format!("not an analysis ({e})")))?;
        if report.version != VERSION {
            let message =
                format!("version {}, and this program reads {VERSION}: analyze again", report.version);
            return Err(wrong(message));
        }
        Ok(report)
    }

    /// Writes it to `path`, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| Error::data(path.display().to_string(), format!("cannot be written: {e}")))?;
        atomic::write(path, |out| writeln!(out, "{text}").map_err(Error::io(path)))
    }

    /// The separability of all checkpoints as CSV.
    pub fn separability_csv(&self) -> Option<String> {
        let head = "checkpoint,place,name,module,module_end,features,test_error,train_error,loss,converged";
        let rows = self.subjects.iter().filter_map(|s| Some((s, s.separability.as_ref()?)));
        table(
            head,
            rows.flat_map(|(s, found)| {
                found.places.iter().map(|p| {
                    let at = &p.at;
                    csv::record([
                        csv::text(&s.name),
                        at.place.to_string(),
                        csv::text(&at.name),
                        at.module.to_string(),
                        at.module_end.to_string(),
                        p.features.to_string(),
                        p.test_error.to_string(),
                        p.train_error.to_string(),
                        p.loss.to_string(),
                        p.converged.to_string(),
                    ])
                })
            }),
        )
    }

    /// CKA of all checkpoints as CSV, one line for two places; none is empty.
    pub fn cka_csv(&self) -> Option<String> {
        let rows = self.subjects.iter().filter_map(|s| Some((s, s.cka.as_ref()?)));
        table(
            "checkpoint,against,name,against_name,cka",
            rows.flat_map(|(s, found)| {
                found.matrix.iter().zip(&found.places).flat_map(move |(row, a)| {
                    row.iter().zip(&found.against_places).map(move |(v, b)| {
                        let names = [&s.name, &found.against, &a.name, &b.name].map(|n| csv::text(n));
                        csv::record(names.into_iter().chain([optional(*v)]))
                    })
                })
            }),
        )
    }

    /// Errors of auxiliary classifiers as CSV; none is empty.
    pub fn heads_csv(&self) -> Option<String> {
        let rows = self.subjects.iter().filter_map(|s| Some((s, s.heads.as_ref()?)));
        table(
            "checkpoint,module,name,independent_error,cascaded_error",
            rows.flat_map(|(s, found)| {
                found.modules.iter().map(|m| {
                    let [own, at] = [&s.name, &m.name].map(|n| csv::text(n));
                    let errors = [m.independent, m.cascaded].map(optional);
                    csv::record([own, m.module.to_string(), at].into_iter().chain(errors))
                })
            }),
        )
    }
}

impl Studied {
    /// A checkpoint of which nothing was found yet.
    pub fn new(subject: &Subject, path: &Path) -> Self {
        let m = &subject.manifest;
        Studied {
            name: subject.name.clone(),
            path: path.display().to_string(),
            epoch: m.epoch,
            test_error: Some(m.test_error).filter(|e| e.is_finite()),
            recipe: m.recipe.clone(),
            places: subject.places.clone(),
            separability: None,
            cka: None,
            heads: None,
        }
    }
}

/// Lines below a head; none without lines.
fn table(head: &str, lines: impl Iterator<Item = String>) -> Option<String> {
    let lines: Vec<String> = lines.collect();
    (!lines.is_empty()).then(|| format!("{head}\n{}\n", lines.join("\n")))
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(String::new, |v| v.to_string())
}
