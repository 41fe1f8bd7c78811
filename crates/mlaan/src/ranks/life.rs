//! Signs of life: a thread of every rank sends them, and looks whether its rank hangs.

use super::mailbox::{Lane, life};
use super::status::RankStatus;
use super::watch::{State, Thread, Work};
use super::watched::lock;
use super::{Patience, World};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

impl World {
    pub(super) fn patience(&self) -> Patience {
        *lock(&self.watched.patience)
    }

    /// The first pieces of work, and those of an evaluation, may take so long.
    pub fn expects(&self, first: Duration) {
        let mut patience = lock(&self.watched.patience);
        patience.first = patience.first.max(first);
    }

    /// What this rank holds, for others to see.
    pub fn measures(&self, memory: impl Fn() -> u64 + Send + Sync + 'static) {
        *lock(&self.watched.memory) = Some(Box::new(memory));
    }

    /// Whether signs of life are sent: threads of one process need none.
    pub(super) fn is_watched(&self) -> bool {
        self.watched.beats.load(Ordering::Relaxed)
    }

    /// The time of so many signs of life.
    pub(super) fn beats(&self, beats: u64) -> Duration {
        self.patience().beat * u32::try_from(beats).unwrap_or(u32::MAX)
    }

    /// The time that waits are measured in: that of signs of life, where they are sent.
    pub(super) fn clock(&self) -> Duration {
        if self.is_watched() { self.beats(self.mailbox.beats()) } else { self.watched.began.elapsed() }
    }

    pub(super) fn enter(&self, thread: Thread, state: State) -> State {
        let (beat, patience) = (self.mailbox.beats(), self.patience());
        lock(&self.watched.threads)[thread as usize].enter(state, beat, &patience)
    }

    /// A thread begins a piece of work that others may wait for; where it waits for another rank in between, that does not count.
    pub fn begin(&self, thread: Thread, work: Work) {
        self.enter(thread, State::Works(work));
    }

    /// It has ended; what follows is not watched.
    pub fn end(&self, thread: Thread) {
        self.enter(thread, State::Elsewhere);
    }

    /// Does a piece of work on the main thread, watched.
    pub fn at<T>(&self, work: Work, f: impl FnOnce() -> T) -> T {
        let before = self.enter(Thread::Main, State::Works(work));
        let done = f();
        self.enter(Thread::Main, before);
        done
    }

    /// Waits on the main thread for what other ranks do.
    pub fn awaits<T>(&self, f: impl FnOnce() -> T) -> T {
        let before = self.enter(Thread::Main, State::Waits);
        let done = f();
        self.enter(Thread::Main, before);
        done
    }

    /// How every rank is doing, as its last sign of life said.
    pub fn statuses(&self) -> Vec<RankStatus> {
        let mut all = self.mailbox.statuses();
        all.get_mut(self.rank()).into_iter().for_each(|own| *own = self.status());
        all
    }

    fn status(&self) -> RankStatus {
        let memory = lock(&self.watched.memory).as_ref().map_or(0, |memory| memory());
        let [stage, main] = &*lock(&self.watched.threads);
        let [busy, waited] = stage.spent;
        RankStatus { busy, waited, memory, goes_on: stage.works() || main.may_go_on(), delivered: 0 }
    }

    /// Sends signs of life from now on, and ends the job when this rank hangs. Ends with the world.
    pub fn watch(self: &Arc<Self>) {
        self.watched.beats.store(true, Ordering::Relaxed);
        let world = Arc::downgrade(self);
        // Without it others believe this rank lost: so it must not be missed in silence.
        let thread = std::thread::Builder::new().name("mlaan-life".into()).spawn(move || live(&world));
        if let Err(e) = thread {
            self.fail(&format!("a thread cannot be started: {e}"));
        }
    }

    /// Lets rank 0 know how this one is doing before its next sign of life.
    pub fn tells_status(&self) {
        self.post.post(0, Lane::Life, sign(self.status()));
    }

    fn look(&self) {
        let status = self.status();
        let (beat, delivered) = self.mailbox.beat(status.goes_on);
        let said = sign(RankStatus { delivered, ..status });
        self.others().for_each(|to| self.post.post(to, Lane::Life, said.clone()));
        let patience = self.patience();
        let active = {
            let mut pulse = lock(&self.watched.pulse);
            pulse.feel(beat, crate::process::activity(), patience.beat);
            pulse.active
        };
        let hangs = lock(&self.watched.threads).iter().find_map(|t| t.hangs(beat, active, &patience));
        if let Some((what, taken)) = hangs {
            self.fail(&format!("it hangs: {what} has not ended for {} s", taken.as_secs()));
        }
    }
}

/// A sign of life.
fn sign(status: RankStatus) -> Vec<u8> {
    let mut said = vec![life::BEAT];
    said.extend(status.write());
    said
}

fn live(world: &Weak<World>) {
    while let Some(world) = world.upgrade() {
        world.look();
        let beat = world.patience().beat;
        drop(world);
        std::thread::sleep(beat);
    }
}

/// Does a piece of work on the main thread, watched where other ranks may wait for it.
pub(crate) fn while_watched<T>(world: Option<&World>, work: Work, f: impl FnOnce() -> T) -> T {
    match world {
        Some(world) => world.at(work, f),
        None => f(),
    }
}
