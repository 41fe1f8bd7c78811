//! The test error of a network's own auxiliary classifiers, module by module.

use super::{Seen, Subject};
use crate::evaluation::rank;
use crate::local::Branch;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Errors of all classifiers of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heads {
    /// Test images.
    pub images: usize,
    /// Per module, in order; the last one's is the network's own classifier.
    pub modules: Vec<HeadError>,
}

/// The classifiers behind one module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeadError {
    /// Module, from 0.
    pub module: usize,
    /// The block that ends it, or `stem`.
    pub name: String,
    /// Its place (see [`super::Place::place`]).
    pub place: usize,
    /// Images that the independent loss's classifier gets wrong, percent.
    pub independent: Option<f64>,
    /// Images that the cascaded loss's classifier gets wrong, percent; none without cascades and at the last module.
    pub cascaded: Option<f64>,
}

/// Tests every auxiliary classifier with running statistics. The subject must have been opened with its heads.
///
/// # Errors
/// A subject without auxiliary classifiers; anything from data or device.
pub fn heads(subject: &mut Subject, seen: &Seen<'_>) -> Result<Heads> {
    if !subject.with_heads {
        let message =
            "it has no auxiliary classifiers: one module, a contrastive loss, or opened without them";
        return Err(Error::data(&subject.name, message));
    }
    let data = subject.matched(seen.data)?;
    let seen = seen.of(&data);
    let classes = subject.manifest.classes.len();
    let ends = subject.ends();
    let mut wrong = vec![[None; 2]; ends.len()];
    seen.each(subject.frame(), false, &mut |batch| {
        let images = subject.to_device(batch)?;
        subject.learner.infer_heads(images, &mut |module, branch, logits| {
            let rows = logits.chunks_exact(classes).zip(&batch.labels);
            let missed = rows.filter(|(row, label)| rank(row, **label as usize) > 0).count();
            *wrong[module][usize::from(branch == Branch::Cascaded)].get_or_insert(0) += missed;
        })
    })?;
    let images = seen.data.len();
    let percent = |n: Option<usize>| n.map(|n| 100.0 * n as f64 / images.max(1) as f64);
    let modules = ends.into_iter().zip(wrong).map(|(at, [independent, cascaded])| HeadError {
        module: at.module,
        name: at.name,
        place: at.place,
        independent: percent(independent),
        cascaded: percent(cascaded),
    });
    Ok(Heads { images, modules: modules.collect() })
}
