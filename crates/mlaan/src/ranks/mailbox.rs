//! What came from other ranks and was not taken yet.

use super::status::RankStatus;
use super::watch::Thread;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Messages of different lanes do not wait for each other; those of one lane come in the order in which they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Lane {
    /// Features of a training step, upwards.
    Features,
    /// Gradients of cascades, downwards.
    Gradient,
    /// Parameters of mirrored blocks.
    Sources,
    /// That features were taken.
    FeaturesCredit,
    /// That a gradient was taken.
    GradientCredit,
    /// That parameters were taken.
    SourcesCredit,
    /// From rank 0: what to do next.
    Command,
    /// What a command found, or that it is done.
    Answer,
    /// From rank 0, about what an answer holds.
    Reply,
    /// Losses of a step, to rank 0.
    Losses,
    /// Features of an evaluation, upwards; logits, to rank 0.
    Inference,
    /// Signs of life, failures, requests to stop.
    Life,
    /// That features of an evaluation were taken.
    InferenceCredit,
    /// Lines of a log, to rank 0.
    Log,
}

impl Lane {
    const ALL: [Lane; 14] = [
        Lane::Features,
        Lane::Gradient,
        Lane::Sources,
        Lane::FeaturesCredit,
        Lane::GradientCredit,
        Lane::SourcesCredit,
        Lane::Command,
        Lane::Answer,
        Lane::Reply,
        Lane::Losses,
        Lane::Inference,
        Lane::Life,
        Lane::InferenceCredit,
        Lane::Log,
    ];

    /// The lane of a number, as `lane as u8` gives it.
    pub fn of(number: u8) -> Option<Lane> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Which thread takes what comes in it, where others wait for that.
    pub(super) fn thread(self) -> Option<Thread> {
        match self {
            Lane::Features | Lane::Gradient | Lane::Sources => Some(Thread::Stage),
            Lane::FeaturesCredit | Lane::GradientCredit | Lane::SourcesCredit => Some(Thread::Stage),
            Lane::Command | Lane::Answer | Lane::Reply => Some(Thread::Main),
            Lane::Inference | Lane::InferenceCredit => Some(Thread::Main),
            Lane::Losses | Lane::Life | Lane::Log => None,
        }
    }
}

/// Why a job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where it began.
    pub rank: usize,
    /// What happened there.
    pub cause: String,
}

/// See the module.
#[derive(Debug)]
pub struct Mailbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    queues: BTreeMap<(Lane, usize), VecDeque<Vec<u8>>>,
    /// Bytes of what waits, and their most.
    bytes: [usize; 2],
    /// Signs of life that were sent.
    beat: u64,
    /// At which of them each rank was last heard of, and how it is doing.
    heard: Vec<(u64, RankStatus)>,
    /// At which of them some rank could last go on.
    moved: u64,
    delivered: u64,
    failure: Option<Failure>,
    /// Rank 0 has told of the failure.
    told: bool,
    /// A rank was asked to stop.
    stop: bool,
}

/// What a message of [`Lane::Life`] says, by its first byte; what follows is the failure's rank and cause.
pub(super) mod life {
    pub const BEAT: u8 = b'b';
    pub const FAILED: u8 = b'f';
    pub const TOLD: u8 = b't';
    pub const STOP: u8 = b's';
}

impl Mailbox {
    /// Empty, in a job of so many ranks.
    pub fn new(ranks: usize) -> Self {
        let state = State {
            queues: BTreeMap::new(),
            bytes: [0; 2],
            beat: 0,
            heard: vec![Default::default(); ranks],
            moved: 0,
            delivered: 0,
            failure: None,
            told: false,
            stop: false,
        };
        Mailbox { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts in what rank `from` sent.
    pub fn deliver(&self, from: usize, lane: Lane, bytes: Vec<u8>) {
        let mut state = self.lock();
        state.hear(from);
        match (lane, bytes.split_first()) {
            (Lane::Life, Some((&life::FAILED, said))) if state.failure.is_none() => {
                let (rank, cause) = said.split_at(said.len().min(8));
                let rank = rank.try_into().map_or(from, |b| u64::from_le_bytes(b) as usize);
                state.failure = Some(Failure { rank, cause: String::from_utf8_lossy(cause).into_owned() });
            }
            (Lane::Life, Some((&life::TOLD, _))) => state.told = true,
            (Lane::Life, Some((&life::STOP, _))) => state.stop = true,
            (Lane::Life, Some((&life::BEAT, said))) => return state.doing(from, RankStatus::read(said)),
            (Lane::Life, _) => return,
            _ => {
                state.got();
                state.bytes[0] += bytes.len();
                state.bytes[1] = state.bytes[1].max(state.bytes[0]);
                state.queues.entry((lane, from)).or_default().push_back(bytes);
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Notes that a part of a message of rank `from` came.
    pub fn deliver_part(&self, from: usize) {
        let mut state = self.lock();
        state.hear(from);
        state.got();
    }

    /// Bytes of messages that have waited here, at the most.
    pub fn peak_bytes(&self) -> usize {
        self.lock().bytes[1]
    }

    /// Notes a failure, unless there is one; the first.
    pub(super) fn fail(&self, failure: Failure) -> Failure {
        let first = self.lock().failure.get_or_insert(failure).clone();
        self.changed.notify_all();
        first
    }

    /// Why the job ends, if it does.
    pub fn failure(&self) -> Option<Failure> {
        self.lock().failure.clone()
    }

    /// Whether rank 0 has told of the failure.
    pub fn was_told(&self) -> bool {
        self.lock().told
    }

    /// Whether another rank was asked to stop.
    pub fn stop_asked(&self) -> bool {
        self.lock().stop
    }

    /// The next sign of life is sent; `goes_on`: this rank could go on by itself. Its number, and the messages that came so far.
    pub(super) fn beat(&self, goes_on: bool) -> (u64, u64) {
        let mut state = self.lock();
        state.beat += 1;
        if goes_on {
            state.moved = state.beat;
        }
        (state.beat, state.delivered)
    }

    /// The number of the last sign of life.
    pub(super) fn beats(&self) -> u64 {
        self.lock().beat
    }

    /// For how many signs of life rank `rank` has not been heard of.
    pub(super) fn silence(&self, rank: usize) -> u64 {
        let state = self.lock();
        state.heard.get(rank).map_or(0, |(at, _)| state.beat - at)
    }

    /// For how many of them no rank could go on.
    pub(super) fn stillness(&self) -> u64 {
        let state = self.lock();
        state.beat - state.moved
    }

    /// How each rank is doing, as far as it has said.
    pub(super) fn statuses(&self) -> Vec<RankStatus> {
        self.lock().heard.iter().map(|(_, status)| *status).collect()
    }

    /// The next message of a lane from rank `from`, or from any; waits for it until `until`. None: not yet, or the job ends.
    pub(super) fn take(&self, from: Option<usize>, lane: Lane, until: Instant) -> Option<(usize, Vec<u8>)> {
        let mut state = self.lock();
        loop {
            let mut waiting = state.queues.range_mut((lane, 0)..=(lane, usize::MAX));
            let found = waiting.find(|((_, rank), q)| from.is_none_or(|from| from == *rank) && !q.is_empty());
            if let Some(((_, rank), queue)) = found {
                let found = queue.pop_front().map(|bytes| (*rank, bytes));
                state.bytes[0] -= found.as_ref().map_or(0, |(_, bytes)| bytes.len());
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            if state.failure.is_some() || left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    fn hear(&mut self, from: usize) {
        let beat = self.beat;
        self.heard.get_mut(from).into_iter().for_each(|heard| heard.0 = beat);
    }

    /// A message, or a part of one, came.
    fn got(&mut self) {
        self.delivered += 1;
        self.moved = self.beat;
    }

    /// Rank `from` says how it is doing.
    fn doing(&mut self, from: usize, said: Option<RankStatus>) {
        if let (Some((_, status)), Some(said)) = (self.heard.get_mut(from), said) {
            if said.goes_on || said.delivered != status.delivered {
                self.moved = self.beat;
            }
            *status = said;
        }
    }
}
