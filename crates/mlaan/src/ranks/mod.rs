//! The ranks of a job: processes that each train a part of one network (`mpirun -n 4 mlaan train …`).
//!
//! What they exchange are bytes. A [`World`] is one rank's view: it sends, receives with a deadline, and knows when another
//! rank failed, hangs or is not heard of any more. How bytes travel is a [`Post`]: MPI in the crate `mlaan-mpi`, queues between
//! threads in [`World::threads`].

mod life;
mod mailbox;
pub mod parts;
mod patience;
mod status;
mod threads;
mod watch;
mod watched;
mod world;

pub(crate) use life::while_watched;
pub use mailbox::{Failure, Lane, Mailbox};
pub use patience::{Patience, first_steps};
pub use status::RankStatus;
pub use watch::{Thread, Work};
pub(crate) use world::panicked;
pub use world::{Post, World};
