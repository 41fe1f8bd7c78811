//! One cell of a table: an experiment, but for its seed.

use super::sets::KnownSet;
use super::suite::{Column, Row, Suite};
use crate::data::{BUILTIN, LoaderPool, grouped, synthetic, validation_images};
use crate::local::Task;
use crate::nn::ImageShape;
use crate::plan::{Sizes, balanced};
use crate::recipe::{MeanStd, Recipe};
use crate::train::{setup, step_sizes};
use crate::{Error, Result};
use mlaan_engine::DeviceKind;

/// One experiment, but for its seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The name of its folder.
    pub name: String,
    /// Its method.
    pub row: usize,
    /// Its networks: backpropagation stands in every column of its network.
    pub columns: Vec<usize>,
    /// Everything but the seed.
    pub recipe: Recipe,
    /// The data set that the suite asks for; none where it asks for none, or the user for other images.
    pub set: Option<&'static KnownSet>,
    /// Where its images are; none where the suite asks for a set and nobody said where it lies.
    pub source: Option<String>,
    /// The paper's number.
    pub paper: Option<f64>,
}

impl Cell {
    /// Its experiment with this seed.
    pub fn recipe(&self, seed: u64) -> Recipe {
        let mut recipe = Recipe { seed, ..self.recipe.clone() };
        if let Some(source) = &self.source {
            recipe.set_source(source);
        }
        recipe
    }

    /// The recipe, with images.
    ///
    /// # Errors
    /// [`Error::Data`] where nobody said where they lie: names the set and the flag.
    pub fn runnable(&self, seed: u64) -> Result<Recipe> {
        match (&self.source, self.set) {
            (None, Some(set)) => {
                let message = format!(
                    "`{}` needs {} ({} training and {} test images): pass `--data PATH`, or `--data {}=PATH` where several \
                     sets are wanted",
                    self.name,
                    set.title,
                    grouped(set.train),
                    grouped(set.test),
                    set.name
                );
                Err(Error::data("`--data`", message))
            }
            _ => Ok(self.recipe(seed)),
        }
    }

    /// Whether it is plain backpropagation.
    pub fn is_plain(&self) -> bool {
        self.recipe.local.cuts.as_ref().map_or(self.recipe.local.modules, |c| c.len() + 1) == 1
    }

    /// Training images and those that are evaluated after every epoch, where they are known without opening the set: as many
    /// as a validation share is of all training images, or test images.
    pub fn images(&self) -> Option<[usize; 2]> {
        let limit = self.recipe.data.limit;
        let built_in = || [synthetic::TRAIN, synthetic::TEST].map(|n| limit.map_or(n, |most| n.min(most)));
        let [train, test] = match (self.source.as_deref(), self.set) {
            (Some(BUILTIN), _) => built_in(),
            (_, Some(set)) => set.images(limit),
            _ => return None,
        };
        let held = self.recipe.data.validation.map_or(0, |share| validation_images(share, train));
        Some(if held > 0 { [train - held, held] } else { [train, test] })
    }

    /// What is learnt from the images; their values do not matter to a plan.
    pub(super) fn task(&self) -> Task {
        let size = self.recipe.data.size;
        let guess = if size <= 96 { 10 } else { 1000 };
        let classes = self.set.map_or(guess, |s| s.classes);
        let pixels = setup::pixel_scale(&MeanStd { mean: [0.5; 3], std: [0.25; 3] });
        Task { image: ImageShape::square(size, 3), classes, pixels }
    }

    /// What memory depends on, without the images themselves.
    pub(super) fn sizes(&self, images: Option<[usize; 2]>, kind: DeviceKind) -> Sizes {
        // What moves tensors out of a GPU's memory is planned for a GPU wherever it is planned.
        let kind = if self.recipe.local.offload.is_none() { kind } else { DeviceKind::Cuda };
        let (recipe, batch, size) = (&self.recipe, self.recipe.train.batch, self.recipe.data.size);
        let mixed = self.recipe.data.extras().mixes();
        let largest = images.map_or(batch, |[train, test]| batch.min(train.max(test)));
        Sizes {
            train: images.map(|i| i[0]),
            mixed,
            test: images.map(|i| i[1]),
            data_bytes: LoaderPool::bytes(LoaderPool::AHEAD, largest, size, mixed),
            ..step_sizes(recipe, batch, kind)
        }
    }
}

/// A row's recipe in a column.
pub(super) fn cell(
    suite: &Suite,
    (row, base): (&Row, &Recipe),
    column: &Column,
    changes: &[String],
) -> Result<Cell> {
    let (set, several) = (suite.set_of(column)?, suite.has_several_sets()?);
    let mut cell = Cell {
        name: row.name.clone(),
        row: 0,
        columns: Vec::new(),
        recipe: base.clone(),
        set,
        source: if set.is_some() { None } else { Some(base.data.source.clone()) },
        paper: None,
    };
    let plain = cell.is_plain();
    let modules = column.modules.filter(|_| !plain);
    let mut keys: Vec<String> = Vec::new();
    if !row.has_networks() {
        keys.extend(network(base, column, modules));
    }
    keys.extend(set.into_iter().flat_map(|s| s.keys).map(|k| (*k).to_owned()));
    // Each has learning rates of its own.
    let layers = [keys.as_slice(), &suite.set, &column.set, &row.set, changes];
    let suffix = named(column.suffix(modules), set.filter(|_| several));
    if !suffix.is_empty() {
        cell.name = format!("{}-{suffix}", row.name);
    }
    cell.recipe.set_layers(layers).map_err(|e| located(&cell.name, e))?;
    if layers.iter().copied().flatten().any(|k| k.trim_start().starts_with("data.source")) {
        // Whoever names images means these, whatever the set that the suite names.
        (cell.source, cell.set) = (Some(cell.recipe.data.source.clone()), None);
    }
    if cell.recipe.model.backbone != base.model.backbone || cell.recipe.local.modules != base.local.modules {
        let method = row.title.as_ref().unwrap_or(&row.name);
        cell.recipe.description = format!("{method}, {}", column.title(modules, None));
    }
    if cell.recipe.local.balance {
        // As a run keeps them, so that a finished run is known again.
        let backbone = setup::network(&cell.recipe)?;
        let sizes = cell.sizes(None, DeviceKind::Cpu { threads: Some(1) });
        cell.recipe.local = balanced(&backbone, &cell.recipe.local, cell.task(), sizes)?;
    }
    Ok(cell)
}

/// The keys that give a recipe a column's network.
fn network(base: &Recipe, column: &Column, modules: Option<usize>) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    if column.network.is_some() || modules.is_some() {
        // Cuts and sources are of the network that they were written for.
        keys.extend(["local.cuts=none", "local.stem_alone=none"].map(str::to_owned));
        keys.extend(base.local.leap.as_ref().map(|_| "local.leap.sources=none".to_owned()));
    }
    keys.extend(column.network.iter().map(|n| format!("model.backbone={n}")));
    keys.extend(modules.map(|n| format!("local.modules={n}")));
    keys
}

/// A name that tells data sets apart where there are several.
pub(super) fn named(suffix: String, set: Option<&KnownSet>) -> String {
    match set {
        Some(set) if suffix.is_empty() => set.name.into(),
        Some(set) => format!("{suffix}-{}", set.name),
        None => suffix,
    }
}

/// Says which cell an error is of.
fn located(cell: &str, e: Error) -> Error {
    match e {
        Error::Recipe { key, message } => Error::Recipe { key, message: format!("{message} (cell {cell})") },
        other => other,
    }
}
