//! What the threads of a rank are at, so that work that hangs is found: by another thread, which counts its own beats. A process
//! that is stopped, or a machine that sleeps, counts none: time that nobody had is not held against anybody.

use super::Patience;
use std::time::{Duration, Instant};

/// The threads of a rank that others wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thread {
    /// That of its stage: steps.
    Stage,
    /// That which leads the others or obeys: set-up, evaluation, checkpoints.
    Main,
}

/// A piece of work that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Of a module, in a step.
    Step,
    /// Before the first step: it may take long, as long as the process computes or reads.
    SetUp,
    /// Of anything else, by what it is and how much longer than usual it may take.
    Other(&'static str, Duration),
}

impl Work {
    /// To write or read so many bytes, on a disk that may be slow.
    pub fn of_bytes(what: &'static str, bytes: usize) -> Self {
        Work::Other(what, Duration::from_micros(bytes as u64))
    }
}

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// What nobody watches, as to write to a terminal.
    Elsewhere,
    /// It waits for another rank.
    Waits,
    /// Watched.
    Works(Work),
}

/// Pieces of a step's work that count as the first ones, which may compile kernels.
const FIRST: u64 = 200;

/// A thread's work so far.
#[derive(Debug)]
pub(super) struct Course {
    state: State,
    /// When the state began, and the beat.
    since: (Instant, u64),
    /// The longest piece of a step's work, their number.
    longest: Duration,
    pieces: u64,
    /// In all: at work, and waiting.
    pub spent: [Duration; 2],
}

impl Course {
    pub fn new() -> Self {
        let since = (Instant::now(), 0);
        Course {
            state: State::Elsewhere,
            since,
            longest: Duration::ZERO,
            pieces: 0,
            spent: Default::default(),
        }
    }

    /// Another state begins at a beat; what it was.
    pub fn enter(&mut self, state: State, beat: u64, patience: &Patience) -> State {
        let now = Instant::now();
        // A process that was stopped meanwhile did not work.
        let most = patience.beat * u32::try_from(beat - self.since.1 + 1).unwrap_or(u32::MAX);
        let taken = now.duration_since(self.since.0).min(most);
        match self.state {
            State::Works(work) => {
                self.spent[0] += taken;
                if work == Work::Step {
                    self.longest = self.longest.max(taken);
                    self.pieces += 1;
                }
            }
            State::Waits => self.spent[1] += taken,
            State::Elsewhere => {}
        }
        self.since = (now, beat);
        std::mem::replace(&mut self.state, state)
    }

    /// Whether others could wait for it: it does not wait itself.
    pub fn may_go_on(&self) -> bool {
        self.state != State::Waits
    }

    /// Whether it is at watched work.
    pub fn works(&self) -> bool {
        matches!(self.state, State::Works(_))
    }

    /// What hangs at a beat, and for how long; `active` is the last beat at which the process computed or read.
    pub fn hangs(&self, beat: u64, active: u64, patience: &Patience) -> Option<(&'static str, Duration)> {
        let State::Works(work) = self.state else { return None };
        let (what, from, most) = match work {
            Work::Step if self.pieces < FIRST => {
                ("a module's work", self.since.1, patience.stuck.max(patience.first))
            }
            Work::Step => ("a module's work", self.since.1, patience.stuck.max(10 * self.longest)),
            Work::SetUp => ("its set-up", self.since.1.max(active), patience.slow.max(patience.first)),
            Work::Other(what, more) => (what, self.since.1, patience.slow.max(patience.first) + more),
        };
        let taken = patience.beat * u32::try_from(beat.saturating_sub(from)).unwrap_or(u32::MAX);
        (taken > most).then_some((what, taken))
    }
}

/// Whether a process does anything: the processor's time that it has had and what it has read and written.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    last: Option<[u64; 2]>,
    /// The last beat at which it did.
    pub active: u64,
}

impl Pulse {
    /// What it has done up to a beat: hundredths of a second, and bytes. A twentieth of a processor, or a page a second, is
    /// something: threads that only look for messages take less.
    pub fn feel(&mut self, beat: u64, found: Option<[u64; 2]>, between: Duration) {
        let (Some([ticks, bytes]), Some([before, read])) = (found, self.last) else {
            // What the system does not tell is not held against it.
            (self.last, self.active) = (found, beat);
            return;
        };
        let seconds = between.as_secs_f64();
        if (ticks - before.min(ticks)) as f64 >= 5.0 * seconds
            || (bytes - read.min(bytes)) as f64 >= 4096.0 * seconds
        {
            self.active = beat;
        }
        self.last = found;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: Patience = {
        let s = Duration::from_secs;
        Patience { beat: s(2), silence: s(15), stuck: s(20), first: s(20), slow: s(60), all: s(3600) }
    };

    #[test]
    fn work_that_does_not_end_hangs_and_waiting_does_not() {
        let mut stage = Course::new();
        assert_eq!(stage.hangs(1000, 0, &P), None);
        stage.enter(State::Works(Work::Step), 5, &P);
        assert_eq!(stage.hangs(15, 0, &P), None);
        assert_eq!(stage.hangs(16, 0, &P), Some(("a module's work", Duration::from_secs(22))));
        // Larger work takes longer.
        let large = Patience { first: Duration::from_secs(100), ..P };
        assert!(stage.hangs(55, 0, &large).is_none() && stage.hangs(56, 0, &large).is_some());
        stage.enter(State::Waits, 17, &P);
        assert!(stage.hangs(1000, 0, &P).is_none() && !stage.may_go_on());
        let mut main = Course::new();
        main.enter(State::Works(Work::of_bytes("a checkpoint", 10_000_000)), 0, &P);
        assert!(main.hangs(35, 0, &P).is_none());
        assert_eq!(main.hangs(36, 0, &P), Some(("a checkpoint", Duration::from_secs(72))));
    }

    #[test]
    fn a_set_up_may_take_long_while_it_does_something() {
        let (mut main, mut pulse) = (Course::new(), Pulse::default());
        main.enter(State::Works(Work::SetUp), 0, &P);
        for beat in 0..100 {
            pulse.feel(beat, Some([beat * 20, 0]), P.beat);
            assert_eq!(main.hangs(beat, pulse.active, &P), None);
        }
        // What looks for messages is nothing; what is read is something.
        for beat in 100..130 {
            pulse.feel(beat, Some([1980 + beat - 99, 0]), P.beat);
        }
        assert_eq!(pulse.active, 99);
        assert_eq!(main.hangs(130, pulse.active, &P), Some(("its set-up", Duration::from_secs(62))));
        pulse.feel(130, Some([2011, 1 << 20]), P.beat);
        assert_eq!((pulse.active, main.hangs(130, pulse.active, &P)), (130, None));
    }

    #[test]
    fn time_that_a_stopped_process_did_not_have_is_no_work() {
        let mut stage = Course::new();
        stage.enter(State::Works(Work::Step), 7, &P);
        // It slept for an hour between two beats.
        stage.since.0 = stage.since.0.checked_sub(Duration::from_secs(3600)).unwrap_or(stage.since.0);
        stage.enter(State::Waits, 8, &P);
        assert!(stage.longest <= 2 * P.beat && stage.spent[0] <= 2 * P.beat, "{:?}", stage.longest);
    }
}
