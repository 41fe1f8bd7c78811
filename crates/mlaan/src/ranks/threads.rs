//! The ranks of a job within one process.

use super::{Lane, Mailbox, Patience, Post, World};
use std::sync::Arc;

/// Mailboxes of threads.
struct Threads {
    rank: usize,
    boxes: Vec<Arc<Mailbox>>,
}

impl Post for Threads {
    fn post(&self, to: usize, lane: Lane, bytes: Vec<u8>) {
        if let Some(mailbox) = self.boxes.get(to) {
            mailbox.deliver(self.rank, lane, bytes);
        }
    }
}

impl World {
    /// The ranks of a job within one process, for tests and for who wants threads.
    pub fn threads(ranks: usize) -> Vec<Arc<World>> {
        Self::patient_threads(ranks, Patience::default())
    }

    /// As [`World::threads`], with other limits.
    pub fn patient_threads(ranks: usize, patience: Patience) -> Vec<Arc<World>> {
        let boxes: Vec<Arc<Mailbox>> = (0..ranks).map(|_| Arc::new(Mailbox::new(ranks))).collect();
        let world = |rank: usize| {
            let post = Threads { rank, boxes: boxes.clone() };
            Arc::new(
                World::new(rank, ranks, Arc::clone(&boxes[rank]), Box::new(post)).with_patience(patience),
            )
        };
        (0..ranks).map(world).collect()
    }
}
