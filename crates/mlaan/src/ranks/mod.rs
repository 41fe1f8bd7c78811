//! The ranks of a job: processes that each train a part of one network (`mpirun -n 4 mlaan train …`).
//!
//! What they exchange are bytes. A [`World`] is one rank's view: it sends, receives with a deadline, and knows when another
//! rank failed or is not heard of any more. How bytes travel is a [`Post`]: MPI in the crate `mlaan-mpi`, queues between
//! threads in [`World::threads`].

mod mailbox;
mod world;

pub use mailbox::{Failure, Lane, Mailbox};
pub use world::{Patience, Post, World};
