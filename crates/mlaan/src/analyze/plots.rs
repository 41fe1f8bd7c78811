//! An analysis as plots and files.

use super::{Analysis, Sheet, features};
use crate::files::atomic;
use crate::plot::{Heat, Lines, Series};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// The numbers of an analysis in its folder.
pub const FILE: &str = "analysis.json";

impl Analysis {
    /// Error of linear classifiers over depth, a curve per checkpoint; none where none was measured.
    pub fn separability_plot(&self) -> Option<Lines> {
        let series: Vec<Series> = self
            .subjects
            .iter()
            .enumerate()
            .filter_map(|(i, s)| {
                let found = &s.separability.as_ref()?.places;
                Some(Series {
                    name: s.name.clone(),
                    points: found.iter().map(|p| (p.at.place as f64, p.test_error)).collect(),
                    filled: found.iter().map(|p| p.at.module_end).collect(),
                    style: Some(i),
                    ..Series::default()
                })
            })
            .collect();
        (!series.is_empty()).then(|| Lines {
            title: "Linear separability: test error of linear probes".into(),
            x: "block (filled: a module ends)".into(),
            y: "error, %".into(),
            names: Some(self.place_names()),
            markers: true,
            series,
            ..Lines::default()
        })
    }

    /// Error of the networks' own classifiers over depth; cascaded ones dashed.
    pub fn heads_plot(&self) -> Option<Lines> {
        let mut series = Vec::new();
        for (i, s) in self.subjects.iter().enumerate() {
            let Some(heads) = &s.heads else { continue };
            for cascaded in [false, true] {
                let error = |m: &super::heads::HeadError| if cascaded { m.cascaded } else { m.independent };
                let points = heads.modules.iter().filter_map(|m| Some((m.place as f64, error(m)?)));
                let points: Vec<(f64, f64)> = points.collect();
                let name = if cascaded { format!("{}, cascaded", s.name) } else { s.name.clone() };
                let filled = vec![!cascaded; points.len()];
                let curve =
                    Series { name, points, filled, dashed: cascaded, style: Some(i), ..Series::default() };
                series.extend(Some(curve).filter(|c| !c.points.is_empty()));
            }
        }
        (!series.is_empty()).then(|| Lines {
            title: "Own auxiliary classifiers: test error".into(),
            x: "block that the module ends with".into(),
            y: "error, %".into(),
            names: Some(self.place_names()),
            markers: true,
            series,
            ..Lines::default()
        })
    }

    /// CKA of each checkpoint with the other network: number of the checkpoint, and a heat map.
    pub fn cka_plots(&self) -> Vec<(usize, Heat)> {
        let names = |places: &[super::Place]| places.iter().map(|p| p.name.clone()).collect();
        let plots = self.subjects.iter().enumerate().filter_map(|(i, s)| {
            let found = s.cka.as_ref()?;
            // Of a network with itself it says nothing: 1 on the diagonal, and what its own layers have in common.
            if found.against == s.name {
                return None;
            }
            let heat = Heat {
                title: format!("Linear CKA: {} with {}", s.name, found.against),
                x: found.against.clone(),
                y: s.name.clone(),
                columns: names(&found.against_places),
                rows: names(&found.places),
                values: found.matrix.clone(),
            };
            Some((i, heat))
        });
        plots.collect()
    }

    /// Names of places, of the network that has most.
    fn place_names(&self) -> Vec<String> {
        let most = self.subjects.iter().max_by_key(|s| s.places.len());
        most.map_or_else(Vec::new, |s| s.places.iter().map(|p| p.name.clone()).collect())
    }

    /// Draws feature maps into `folder` and lists them.
    ///
    /// # Errors
    /// When a picture cannot be written.
    pub fn add_features(&mut self, folder: &Path, found: &[features::ImageMaps]) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for (i, image) in found.iter().enumerate() {
            let file = match image.image.parse::<usize>() {
                Ok(number) => format!("features-{number}.png"),
                Err(_) => format!("features-file-{}.png", i + 1),
            };
            let path = folder.join(&file);
            Sheet::draw(image).write_png(&path)?;
            files.push(path);
            self.features.push(features::FeatureSheet {
                image: image.image.clone(),
                label: image.label.clone(),
                predictions: image.networks.iter().map(|l| l.prediction.clone()).collect(),
                file,
            });
        }
        Ok(files)
    }

    /// Writes numbers as JSON and CSV and plots as SVG into `folder`, and says which files these are.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn save(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut files = vec![folder.join(FILE)];
        self.write(&files[0])?;
        let mut texts: Vec<(String, String)> = Vec::new();
        let mut add = |name: &str, text: Option<String>| texts.extend(text.map(|t| (name.to_owned(), t)));
        add("separability.csv", self.separability_csv());
        add("cka.csv", self.cka_csv());
        add("heads.csv", self.heads_csv());
        add("separability.svg", self.separability_plot().map(|p| p.svg()).transpose()?);
        add("heads.svg", self.heads_plot().map(|p| p.svg()).transpose()?);
        for (i, plot) in self.cka_plots() {
            add(&format!("cka-{}-{}.svg", i + 1, file_name(&self.subjects[i].name)), Some(plot.svg()?));
        }
        for (name, text) in texts {
            let path = folder.join(name);
            atomic::write(&path, |out| out.write_all(text.as_bytes()).map_err(Error::io(&path)))?;
            files.push(path);
        }
        Ok(files)
    }
}

/// A name as part of a file's.
fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || "-._".contains(c) { c } else { '-' }).collect()
}
