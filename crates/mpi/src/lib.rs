//! Ranks over MPI: one thread owns it, sends what others give it and puts what arrives into the mailbox. It sleeps between
//! looks, so that a rank that waits leaves its cores to those that compute.

use mlaan::ranks::{Lane, Mailbox, Post, World};
use mlaan::{Error, Result};
use mpi::request::{Request, StaticScope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Destination, MatchedReceiveVec, Source};
use mpi::{Rank, Threading};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks while something is on its way, and the least and the most while nothing is.
const MOVING: Duration = Duration::from_micros(20);
const SHORT: Duration = Duration::from_micros(100);
const LONG: Duration = Duration::from_millis(1);
/// Within this time MPI ends, or it is left as it is: another rank may be gone.
const END: Duration = Duration::from_secs(3);
/// As [`END`], where no rank failed.
const WHOLE_END: Duration = Duration::from_secs(60);

/// This process within a job.
pub struct Job {
    /// Its view of the job.
    pub world: Arc<World>,
    /// Its number among the ranks on this machine.
    pub local_rank: usize,
    /// The ranks on this machine.
    pub local_ranks: usize,
    close: Sender<Order>,
    thread: JoinHandle<()>,
}

enum Order {
    Send { to: usize, lane: Lane, bytes: Vec<u8> },
    Close,
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
    local_ranks: usize,
}

impl Job {
    /// Joins the job that the launcher started this process in.
    ///
    /// # Errors
    /// When MPI cannot be started.
    pub fn join() -> Result<Self> {
        let (close, orders) = channel();
        let (tell, told) = channel();
        let failed = |message: String| Error::recipe("ranks", message);
        let own = move || own(&tell, &orders);
        let thread = std::thread::Builder::new().name("mlaan-mpi".into()).spawn(own);
        let thread = thread.map_err(|e| failed(format!("a thread cannot be started: {e}")))?;
        let (place, mailbox): (Place, Arc<Mailbox>) =
            told.recv().map_err(|_| failed("MPI cannot be started in this process".into()))?;
        let post = Box::new(Outbox(close.clone()));
        let world = Arc::new(World::new(place.rank, place.ranks, mailbox, post));
        Ok(Job { world, local_rank: place.local_rank, local_ranks: place.local_ranks, close, thread })
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
            std::thread::sleep(LONG);
        }
        self.thread.join().is_ok()
    }
}

/// The life of the thread that owns MPI.
fn own(tell: &Sender<(Place, Arc<Mailbox>)>, orders: &Receiver<Order>) {
    let Some((universe, _)) = mpi::initialize_with_threading(Threading::Funneled) else { return };
    let world = universe.world();
    let local = world.split_shared(world.rank());
    let number = |n: Rank| usize::try_from(n).unwrap_or(0);
    let mailbox = Arc::new(Mailbox::new(number(world.size())));
    let place = Place {
        rank: number(world.rank()),
        ranks: number(world.size()),
        local_rank: number(local.rank()),
        local_ranks: number(local.size()),
    };
    if tell.send((place, Arc::clone(&mailbox))).is_ok() {
        Owner { world, mailbox, moving: Vec::new() }.run(orders);
    }
    drop(local);
    drop(universe);
}

/// Bytes on their way, which MPI reads until they are there.
struct Moving {
    request: Request<'static, [u8], StaticScope>,
    bytes: *mut [u8],
}

struct Owner {
    world: SimpleCommunicator,
    mailbox: Arc<Mailbox>,
    moving: Vec<Moving>,
}

impl Owner {
    fn run(&mut self, orders: &Receiver<Order>) {
        let (mut open, mut pause) = (true, SHORT);
        while open || !self.moving.is_empty() {
            let mut order = orders.try_recv().ok();
            if self.receive() | self.look() | order.is_some() {
                pause = SHORT;
            } else if self.moving.is_empty() {
                order = match orders.recv_timeout(pause) {
                    Ok(order) => Some(order),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => Some(Order::Close),
                };
                pause = (pause * 2).min(LONG);
            } else {
                std::thread::sleep(MOVING);
            }
            match order {
                Some(Order::Send { to, lane, bytes }) => self.send(to, lane, bytes),
                Some(Order::Close) => open = false,
                None => {}
            }
        }
    }

    fn send(&mut self, to: usize, lane: Lane, bytes: Vec<u8>) {
        let Ok(to) = Rank::try_from(to) else { return };
        let bytes: *mut [u8] = Box::into_raw(bytes.into_boxed_slice());
        // SAFETY: the box is taken apart only when the request is done.
        let lent: &'static [u8] = unsafe { &*bytes };
        let request = self.world.process_at_rank(to).immediate_send_with_tag(StaticScope, lent, lane as i32);
        self.moving.push(Moving { request, bytes });
    }

    /// Whether something has arrived at its end.
    fn look(&mut self) -> bool {
        let before = self.moving.len();
        for Moving { request, bytes } in std::mem::take(&mut self.moving) {
            match request.test() {
                // SAFETY: it was a box, and MPI has read it to the end.
                Ok(_) => drop(unsafe { Box::from_raw(bytes) }),
                Err(request) => self.moving.push(Moving { request, bytes }),
            }
        }
        self.moving.len() < before
    }

    /// Whether something came.
    fn receive(&mut self) -> bool {
        let Some(found) = self.world.any_process().immediate_matched_probe() else { return false };
        let (bytes, status) = found.matched_receive_vec::<u8>();
        let lane = u8::try_from(status.tag()).ok().and_then(Lane::of);
        if let (Some(lane), Ok(from)) = (lane, usize::try_from(status.source_rank())) {
            self.mailbox.deliver(from, lane, bytes);
        }
        true
    }
}

/// The library that this program is linked with, for messages.
pub fn library() -> String {
    let version = mpi::environment::library_version().unwrap_or_default();
    version.split([',', '\n']).next().unwrap_or_default().trim().to_owned()
}
