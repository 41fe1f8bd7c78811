//! Ranks over MPI: one thread owns it, sends what others give it and puts what arrives into the mailbox. It sleeps between
//! looks, so that a rank that waits leaves its cores to those that compute.

mod owner;

use mlaan::ranks::{Lane, Mailbox, Post, World};
use mlaan::{Error, Result};
use mpi::traits::{Communicator, CommunicatorCollectives};
use mpi::{Rank, Threading};
use owner::{Order, Owner};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks whether the thread that owns MPI has ended.
const PAUSE: Duration = Duration::from_millis(1);
/// Within this time all ranks of a job have started MPI, or one of them is not there.
const BEGIN: Duration = Duration::from_secs(300);
/// Within this time MPI ends, or it is left as it is: another rank may be gone.
const END: Duration = Duration::from_secs(3);
/// As [`END`], where no rank failed.
const WHOLE_END: Duration = Duration::from_secs(60);

/// Bytes that ranks of a machine say of themselves.
pub const SAID: usize = 128;

/// This process within a job.
pub struct Job {
    /// Its view of the job.
    pub world: Arc<World>,
    /// Its number among the ranks on this machine.
    pub local_rank: usize,
    /// What every rank on this machine said of itself.
    pub local: Vec<[u8; SAID]>,
    close: Sender<Order>,
    thread: JoinHandle<()>,
}

/// Gives bytes to the thread that owns MPI.
struct Outbox(Sender<Order>);

impl Post for Outbox {
    fn post(&self, to: usize, lane: Lane, bytes: Vec<u8>) {
        // Nobody takes it any more when the job ends.
        let _ = self.0.send(Order::Send { to, lane, bytes });
    }
}

/// Where this process is in its job.
struct Place {
    rank: usize,
    ranks: usize,
    local_rank: usize,
    local: Vec<[u8; SAID]>,
    /// The first rank on this machine.
    host: usize,
}

impl Job {
    /// Joins the job that the launcher started this process in, and lets the other ranks on this machine know `said`.
    ///
    /// # Errors
    /// When MPI cannot be started, or has not started within five minutes.
    pub fn join(said: &[u8; SAID]) -> Result<Self> {
        let (close, orders) = channel();
        let (tell, told) = channel();
        let said = *said;
        let own = move || own(&tell, &orders, &said);
        let thread = std::thread::Builder::new().name("mlaan-mpi".into()).spawn(own);
        let thread = thread.map_err(|e| Error::ranks(format!("a thread cannot be started: {e}")))?;
        let (place, mailbox): (Place, Arc<Mailbox>) = started(&told, BEGIN)?;
        let post = Box::new(Outbox(close.clone()));
        let world = Arc::new(World::new(place.rank, place.ranks, mailbox, post).on_host(place.host));
        Ok(Job { world, local_rank: place.local_rank, local: place.local, close, thread })
    }

    /// Sends what is left and ends MPI; whether it ended in time. If not, another rank is gone, and the process must end
    /// without it. Where all went well (`whole`) the others get longer: they may still be at the end of their work.
    pub fn leave(self, whole: bool) -> bool {
        let _ = self.close.send(Order::Close);
        let until = Instant::now() + if whole { WHOLE_END } else { END };
        while !self.thread.is_finished() {
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(PAUSE);
        }
        self.thread.join().is_ok()
    }
}

/// What the thread that starts MPI tells, within a time.
fn started<T>(told: &Receiver<T>, within: Duration) -> Result<T> {
    told.recv_timeout(within).map_err(|e| match e {
        RecvTimeoutError::Disconnected => Error::ranks("MPI cannot be started in this process"),
        RecvTimeoutError::Timeout => Error::ranks(format!(
            "on {} MPI has not started within {} s: another rank has not started, or cannot be reached from here. Look for a rank that failed, \
             and which network MPI takes (Open MPI: mpirun --mca btl_tcp_if_include eth0)",
            host(),
            within.as_secs()
        )),
    })
}

/// The name of this machine.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "this machine".into() } else { name.trim().into() }
}

/// The life of the thread that owns MPI.
fn own(tell: &Sender<(Place, Arc<Mailbox>)>, orders: &Receiver<Order>, said: &[u8; SAID]) {
    let Some((universe, _)) = mpi::initialize_with_threading(Threading::Funneled) else { return };
    let world = universe.world();
    let local = world.split_shared(world.rank());
    let number = |n: Rank| usize::try_from(n).unwrap_or(0);
    let mailbox = Arc::new(Mailbox::new(number(world.size())));
    let mut here = vec![0; number(local.size())];
    local.all_gather_into(&world.rank(), &mut here[..]);
    let mut all = vec![0; here.len() * SAID];
    local.all_gather_into(&said[..], &mut all[..]);
    let place = Place {
        rank: number(world.rank()),
        ranks: number(world.size()),
        local_rank: number(local.rank()),
        local: all.as_chunks().0.to_vec(),
        host: here.into_iter().min().map_or(0, number),
    };
    if tell.send((place, Arc::clone(&mailbox))).is_ok() {
        Owner::new(world, mailbox).run(orders);
    }
    drop(local);
    drop(universe);
}

/// The library that this program is linked with, for messages.
pub fn library() -> String {
    let version = mpi::environment::library_version().unwrap_or_default();
    version.split([',', '\n']).next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_hangs_ends_with_what_to_look_for() {
        let (tell, told) = channel::<()>();
        let e = started(&told, Duration::from_millis(10)).unwrap_err().to_string();
        assert!(e.contains("has not started within 0 s") && e.contains("btl_tcp_if_include"), "{e}");
        tell.send(()).unwrap();
        assert!(started(&told, Duration::from_millis(10)).is_ok());
        drop(tell);
        let e = started(&told, BEGIN).unwrap_err().to_string();
        assert!(e.contains("cannot be started in this process"), "{e}");
    }
}
