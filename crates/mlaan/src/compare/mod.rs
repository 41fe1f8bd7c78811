//! Tables of experiments: a suite names methods and networks, [`Runner`] trains every cell with several seeds, and a
//! [`Comparison`] says what came out, beside the paper's numbers.
//!
//! A cell with a seed is an ordinary run. What is done is known by its record or its folder, if it is the same
//! experiment ([`Recipe::differences`](crate::recipe::Recipe::differences)), so a table may be interrupted, moved, and
//! put together from several machines.

mod builtin;
mod cell;
mod cost;
mod machine;
mod outcome;
mod published;
mod render;
mod runner;
mod sets;
pub mod statistics;
mod steps;
mod store;
mod suite;
mod summary;
mod table;

pub use builtin::builtin;
pub use cell::Cell;
pub use cost::{Cost, Speeds, fit};
pub use machine::Machine;
pub use outcome::{COMPARISON, CellOutcome, Comparison, Ratios, RunOutcome};
pub use published::{Published, published};
pub use render::Sheet;
pub use runner::{End, Run, Runner, Tell};
pub use sets::{KnownSet, SETS};
pub use steps::measure_step;
pub use store::{Failure, RESULTS, Record, Standing, StepRecord, Store};
pub use suite::{Column, Measure, Row, Suite};
pub use table::{Heading, Table};
