//! What trained networks hold at each depth: measurements over checkpoints, as the paper's figures.
//!
//! A [`Subject`] is a checkpoint's network; its *places* are the outputs of the stem and of every block, so that
//! networks cut differently (or not at all) compare at equal depths. Four questions are asked of it: how well a linear
//! classifier reads the classes there ([`separability`]), how alike the values are to those of another network
//! ([`cka`]), what its own auxiliary classifiers say ([`heads`]), and what it looks at ([`features`]). All run
//! with running statistics over images without augmentation, and give the same numbers for any number of threads.

mod analysis;
pub mod cka;
pub mod features;
pub mod heads;
pub mod logistic;
mod plan;
mod plots;
pub mod separability;
mod sheet;
mod subject;

pub use analysis::{Analysis, Studied};
pub use plan::{Images, Studies, plan};
pub use plots::FILE;
pub use sheet::Sheet;
pub use subject::{Place, Seen, Subject, names};
