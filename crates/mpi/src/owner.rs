//! What the thread that owns MPI does: it sends and receives messages in parts, so that none keeps others, and signs of life
//! above all, waiting for long.

use mlaan::ranks::parts::{Assembly, Queue, take_in_order};
use mlaan::ranks::{Lane, Mailbox};
use mpi::Rank;
use mpi::request::{Request, StaticScope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Destination, Equivalence, Source};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Between two looks while something is on its way, and while nothing is. A look takes 50 µs of a core on which a rank computes:
/// a thousand a second take a twentieth of it.
const MOVING: RangeInclusive<Duration> = Duration::from_micros(20)..=Duration::from_micros(200);
const STILL: RangeInclusive<Duration> = Duration::from_micros(100)..=Duration::from_millis(10);
/// Within these limits a pause is this part of the time since something last moved: what comes is found about as late.
const PART_OF_WAIT: u32 = 8;

/// Parts to one rank that MPI has at a time.
const AT_ONCE: usize = 4;

/// In a tag, beside the lane: more of the message follows.
const MORE: Rank = 1 << 8;

/// What it is told.
pub enum Order {
    /// To send a message.
    Send {
        /// To which rank.
        to: usize,
        /// In which lane.
        lane: Lane,
        /// The message.
        bytes: Vec<u8>,
    },
    /// To end when all is sent.
    Close,
}

/// A part on its way, which MPI reads until it is there.
struct Moving {
    request: Request<'static, [u8], StaticScope>,
    to: usize,
    /// Its message.
    bytes: Arc<Vec<u8>>,
}

/// A part that comes, into which MPI writes until it is there. Nothing waits for it: a rank that stops in the middle of one must not
/// keep this one from hearing, and being heard by, the others.
struct Coming {
    request: Request<'static, [u8], StaticScope>,
    from: usize,
    /// None of a lane that is not known here.
    lane: Option<Lane>,
    /// Whether more of its message follows.
    more: bool,
    bytes: Vec<u8>,
}

/// See the module. It is dropped when [`run`](Owner::run) has returned, and no request is open then; in a panic an open request
/// aborts the process.
pub struct Owner {
    world: SimpleCommunicator,
    mailbox: Arc<Mailbox>,
    /// By rank: what is to be sent, and how many parts are on their way.
    waiting: Vec<(Queue, usize)>,
    moving: Vec<Moving>,
    coming: Vec<Coming>,
    assembly: Assembly,
}

/// Until the next look, where nothing has moved for so long.
fn pause(still: Duration, limits: &RangeInclusive<Duration>) -> Duration {
    (still / PART_OF_WAIT).clamp(*limits.start(), *limits.end())
}

impl Owner {
    pub fn new(world: SimpleCommunicator, mailbox: Arc<Mailbox>) -> Self {
        let ranks = usize::try_from(world.size()).unwrap_or(1);
        let waiting = (0..ranks).map(|_| Default::default()).collect();
        Owner {
            world,
            mailbox,
            waiting,
            moving: Vec::new(),
            coming: Vec::new(),
            assembly: Assembly::default(),
        }
    }

    /// Until it is told to close, all is sent, and what began to come is there.
    pub fn run(&mut self, orders: &Receiver<Order>) {
        let (mut open, mut moved) = (true, Instant::now());
        while open || self.is_busy() {
            let mut order = orders.try_recv().ok();
            if self.receive() | self.arrive() | self.look() | order.is_some() {
                moved = Instant::now();
            } else {
                let limits = if self.is_busy() { MOVING } else { STILL };
                let pause = pause(moved.elapsed(), &limits);
                order = match orders.recv_timeout(pause) {
                    Ok(order) => Some(order),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => {
                        std::thread::sleep(pause);
                        Some(Order::Close)
                    }
                };
            }
            match order {
                Some(Order::Send { to, lane, bytes }) => {
                    moved = Instant::now();
                    if let Some((queue, _)) = self.waiting.get_mut(to) {
                        queue.push(lane, bytes);
                        self.send(to);
                    }
                }
                Some(Order::Close) => open = false,
                None => {}
            }
        }
    }

    /// Gives MPI as many parts for a rank as it may have.
    fn send(&mut self, to: usize) {
        let (Some((queue, moving)), Ok(rank)) = (self.waiting.get_mut(to), Rank::try_from(to)) else {
            return;
        };
        while let Some((lane, bytes, part, more)) = queue.next(*moving >= AT_ONCE) {
            let part: *const [u8] = &bytes[part];
            // SAFETY: the message is kept beside the request until that is done, `run` does not return before, and an open request that
            // is dropped aborts the process.
            let lent: &'static [u8] = unsafe { &*part };
            let tag = Rank::from(lane as u8) | if more { MORE } else { 0 };
            let request = self.world.process_at_rank(rank).immediate_send_with_tag(StaticScope, lent, tag);
            self.moving.push(Moving { request, to, bytes });
            *moving += 1;
        }
    }

    /// Whether something has arrived at its end.
    fn look(&mut self) -> bool {
        let before = self.moving.len();
        let mut done = Vec::new();
        for Moving { request, to, bytes } in std::mem::take(&mut self.moving) {
            match request.test() {
                Ok(_) => done.push(to),
                Err(request) => self.moving.push(Moving { request, to, bytes }),
            }
        }
        let moved = self.moving.len() < before;
        for to in done {
            self.waiting.get_mut(to).into_iter().for_each(|(_, moving)| *moving -= 1);
            self.send(to);
        }
        moved
    }

    /// Whether a part is on its way, to another rank or from one.
    fn is_busy(&self) -> bool {
        !self.moving.is_empty() || !self.coming.is_empty()
    }

    /// Whether a part began to come.
    fn receive(&mut self) -> bool {
        let Some((message, status)) = self.world.any_process().immediate_matched_probe() else {
            return false;
        };
        let length = usize::try_from(status.count(u8::equivalent_datatype())).unwrap_or(0);
        let mut bytes = vec![0; length];
        let into: *mut [u8] = &mut bytes[..];
        // SAFETY: the vector is kept beside the request until that is done, and is not touched; its bytes stay where they are when it
        // moves. `run` does not return before, and an open request that is dropped aborts the process.
        let lent: &'static mut [u8] = unsafe { &mut *into };
        let request = message.immediate_matched_receive_into(StaticScope, lent);
        let tag = status.tag();
        let lane = u8::try_from(tag & !MORE).ok().and_then(Lane::of);
        let from = usize::try_from(status.source_rank()).unwrap_or(usize::MAX);
        self.coming.push(Coming { request, from, lane, more: tag & MORE != 0, bytes });
        true
    }

    /// Whether a part is there. Those of one rank and lane are taken in the order in which they began to come, which is that in
    /// which they were sent.
    fn arrive(&mut self) -> bool {
        let (assembly, mailbox) = (&mut self.assembly, &self.mailbox);
        take_in_order(
            &mut self.coming,
            |part| (part.from, part.lane),
            |part| {
                let Coming { request, from, lane, more, bytes } = part;
                if let Err(request) = request.test() {
                    return Some(Coming { request, from, lane, more, bytes });
                }
                let lane = lane?;
                match assembly.add((from, lane), bytes, more) {
                    Some(message) => mailbox.deliver(from, lane, message),
                    None => mailbox.deliver_part(from),
                }
                None
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_the_time_in_which_nothing_moved() {
        let us = Duration::from_micros;
        for (still, of_still, of_moving) in
            [(0, 100, 20), (1000, 125, 125), (40_000, 5000, 200), (900_000, 10_000, 200)]
        {
            assert_eq!(
                (pause(us(still), &STILL), pause(us(still), &MOVING)),
                (us(of_still), us(of_moving)),
                "{still}"
            );
        }
    }
}
