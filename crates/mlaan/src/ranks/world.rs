//! One rank's view of a job.

use super::Patience;
use super::mailbox::{Failure, Lane, Mailbox, life};
use super::watch::State;
use super::watched::Watched;
use crate::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// How bytes get to another rank's mailbox.
pub trait Post: Send + Sync {
    /// Sends bytes; does not wait until they are there. Those of one lane arrive in order.
    fn post(&self, to: usize, lane: Lane, bytes: Vec<u8>);
}

/// See the module.
pub struct World {
    rank: usize,
    ranks: usize,
    host: usize,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) post: Box<dyn Post>,
    /// What of the network is here, for messages.
    part: Mutex<String>,
    pub(super) watched: Watched,
}

impl World {
    /// Rank `rank` of `ranks`; `mailbox` gets what others send to it.
    pub fn new(rank: usize, ranks: usize, mailbox: Arc<Mailbox>, post: Box<dyn Post>) -> Self {
        World { rank, ranks, host: 0, mailbox, post, part: Mutex::default(), watched: Watched::default() }
    }

    /// On the machine whose first rank is `host`.
    #[must_use]
    pub fn on_host(self, host: usize) -> Self {
        World { host, ..self }
    }

    /// The first rank on its machine.
    pub fn host(&self) -> usize {
        self.host
    }

    /// With other limits.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        self.watched.set_patience(patience);
        self
    }

    /// Its number.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Their number.
    pub fn ranks(&self) -> usize {
        self.ranks
    }

    /// The ranks that rank 0 leads.
    pub fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let own = self.rank;
        (0..self.ranks).filter(move |&rank| rank != own)
    }

    /// Says which part of the network is here, as `modules 0 to 7`.
    pub fn holds(&self, part: String) {
        *self.part.lock().unwrap_or_else(PoisonError::into_inner) = part;
    }

    /// Sends bytes to another rank.
    ///
    /// # Errors
    /// [`Error::Rank`] when the job ends.
    pub fn send(&self, to: usize, lane: Lane, bytes: Vec<u8>) -> Result<()> {
        self.ends()?;
        self.post.post(to, lane, bytes);
        Ok(())
    }

    fn ends(&self) -> Result<()> {
        match self.mailbox.failure() {
            Some(Failure { rank, cause }) => Err(Error::Rank { rank, cause }),
            None => Ok(()),
        }
    }

    /// The next message of a lane from rank `from`; `what` names it.
    ///
    /// # Errors
    /// [`Error::Rank`] when the job ends, the rank is not heard of any more, or nothing comes.
    pub fn receive(&self, from: usize, lane: Lane, what: &dyn Fn() -> String) -> Result<Vec<u8>> {
        self.wait(Some(from), lane, what).map(|(_, bytes)| bytes)
    }

    /// The next message of a lane from any rank, with the rank.
    ///
    /// # Errors
    /// As [`World::receive`].
    pub fn receive_any(&self, lane: Lane, what: &dyn Fn() -> String) -> Result<(usize, Vec<u8>)> {
        self.wait(None, lane, what)
    }

    /// A message that is there already.
    pub fn receive_now(&self, from: usize, lane: Lane) -> Option<Vec<u8>> {
        self.mailbox.take(Some(from), lane, Instant::now()).map(|(_, bytes)| bytes)
    }

    fn wait(&self, from: Option<usize>, lane: Lane, what: &dyn Fn() -> String) -> Result<(usize, Vec<u8>)> {
        if let Some(found) = self.mailbox.take(from, lane, Instant::now()) {
            return Ok(found);
        }
        let before = lane.thread().map(|thread| (thread, self.enter(thread, State::Waits)));
        let found = self.wait_longer(from, lane, what);
        if let Some((thread, state)) = before {
            self.enter(thread, state);
        }
        found
    }

    fn wait_longer(
        &self,
        from: Option<usize>,
        lane: Lane,
        what: &dyn Fn() -> String,
    ) -> Result<(usize, Vec<u8>)> {
        let (patience, begin) = (self.patience(), self.clock());
        loop {
            if let Some(found) = self.mailbox.take(from, lane, Instant::now() + patience.beat) {
                return Ok(found);
            }
            self.ends()?;
            let waited = self.clock().saturating_sub(begin);
            // Where signs of life are sent they say whether whoever is awaited works: a set-up may take hours.
            if waited > patience.all && !self.is_watched() {
                self.fail(&format!("waited {} s for {}", waited.as_secs(), what()));
            }
            if !self.is_watched() {
                continue;
            }
            let still = self.beats(self.mailbox.stillness());
            if waited > patience.silence && still > 2 * patience.silence {
                let seconds = still.as_secs();
                self.fail(&format!("waits for {}, and no rank has done anything for {seconds} s", what()));
            }
            let ranks = from.map_or(0..self.ranks, |from| from..from + 1);
            for rank in ranks.filter(|&rank| rank != self.rank) {
                let silence = self.beats(self.mailbox.silence(rank));
                if silence > patience.silence {
                    let seconds = silence.as_secs();
                    self.fail_at(
                        rank,
                        &format!(
                            "nothing has been heard of it for {seconds} s, while rank {} waits for {}: it was stopped, or its machine is lost",
                            self.rank,
                            what()
                        ),
                    );
                }
            }
        }
    }

    /// Ends the job: every wait on every rank ends with this cause, unless there was another before.
    pub fn fail(&self, cause: &str) {
        let part = self.part.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let cause = if part.is_empty() { cause.to_owned() } else { format!("({part}) {cause}") };
        self.fail_at(self.rank, &cause);
    }

    /// As [`World::fail`], with a cause that lies in rank `rank`.
    pub fn fail_at(&self, rank: usize, cause: &str) {
        if self.mailbox.failure().is_some() {
            return;
        }
        let first = self.mailbox.fail(Failure { rank, cause: cause.to_owned() });
        let mut said = vec![life::FAILED];
        said.extend((first.rank as u64).to_le_bytes());
        said.extend(first.cause.as_bytes());
        self.others().for_each(|to| self.post.post(to, Lane::Life, said.clone()));
    }

    /// Bytes of messages that have waited here, at the most.
    pub fn peak_bytes(&self) -> usize {
        self.mailbox.peak_bytes()
    }

    /// The next message of a lane from any rank, for which it waits so long.
    pub(crate) fn next_of_any(&self, lane: Lane, longest: std::time::Duration) -> Option<(usize, Vec<u8>)> {
        self.mailbox.take(None, lane, Instant::now() + longest)
    }

    /// Adds a line to this rank's log, which rank 0 writes.
    pub fn log(&self, line: &str) {
        if self.rank > 0 {
            self.post.post(0, Lane::Log, line.as_bytes().to_vec());
        }
    }

    /// Why the job ends, if it does.
    pub fn failure(&self) -> Option<Failure> {
        self.mailbox.failure()
    }

    /// Rank 0 has told of the failure: others need not.
    pub fn tell(&self) {
        self.others().for_each(|to| self.post.post(to, Lane::Life, vec![life::TOLD]));
    }

    /// Whether rank 0 has.
    pub fn was_told(&self) -> bool {
        self.mailbox.was_told()
    }

    /// Asks rank 0 to save and stop.
    pub fn ask_to_stop(&self) {
        self.post.post(0, Lane::Life, vec![life::STOP]);
    }

    /// Whether a rank asked to.
    pub fn stop_asked(&self) -> bool {
        self.mailbox.stop_asked()
    }

    /// Does what others may wait for on a thread that may panic: they are told, before anything of it is taken apart, which
    /// could wait for them.
    pub fn told_of_panics<T>(&self, work: impl FnOnce() -> T) -> T {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
            self.fail(&panicked(payload.as_ref()));
            resume_unwind(payload)
        })
    }
}

/// What a panic said.
pub(crate) fn panicked(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::{Thread, Work};
    use super::*;
    use std::time::Duration;

    #[test]
    fn messages_of_a_lane_come_in_order_and_lanes_do_not_wait_for_each_other() {
        let worlds = World::threads(3);
        let what = || "a test".to_owned();
        worlds[1].send(0, Lane::Features, vec![1]).unwrap();
        worlds[1].send(0, Lane::Features, vec![2]).unwrap();
        worlds[2].send(0, Lane::Features, vec![3]).unwrap();
        worlds[1].send(0, Lane::Losses, vec![4]).unwrap();
        assert_eq!(worlds[0].receive(1, Lane::Losses, &what).unwrap(), [4]);
        assert_eq!(worlds[0].receive(2, Lane::Features, &what).unwrap(), [3]);
        assert_eq!(worlds[0].receive(1, Lane::Features, &what).unwrap(), [1]);
        assert_eq!(worlds[0].receive_any(Lane::Features, &what).unwrap(), (1, vec![2]));
        assert_eq!(worlds[0].receive_now(1, Lane::Features), None);
        let late = Arc::clone(&worlds[2]);
        let sender = std::thread::spawn(move || late.send(0, Lane::Command, vec![5]));
        assert_eq!(worlds[0].receive(2, Lane::Command, &what).unwrap(), [5]);
        sender.join().unwrap().unwrap();
    }

    #[test]
    fn the_first_cause_ends_every_wait() {
        let worlds = World::threads(3);
        let waiting = Arc::clone(&worlds[2]);
        let waits = std::thread::spawn(move || waiting.receive(0, Lane::Features, &|| "features".into()));
        std::thread::sleep(Duration::from_millis(20));
        worlds[1].holds("modules 3 to 5".into());
        worlds[1].fail("out of memory");
        worlds[0].fail("a consequence");
        let first = |e: Error| matches!(e, Error::Rank { rank: 1, cause } if cause == "(modules 3 to 5) out of memory");
        assert!(first(waits.join().unwrap().unwrap_err()));
        assert!(first(worlds[0].send(1, Lane::Command, Vec::new()).unwrap_err()));
        assert_eq!(worlds[1].failure().unwrap().rank, 1);
        assert!(!worlds[2].was_told());
        worlds[0].tell();
        assert!(worlds[2].was_told() && !worlds[0].was_told());
        worlds[1].ask_to_stop();
        assert!(worlds[0].stop_asked());
    }

    /// Ends nothing within a test: each shortens what it is about, so that a slow machine ends nothing else.
    const PATIENT: Patience = {
        let hour = Duration::from_secs(3600);
        let beat = Duration::from_millis(10);
        Patience { beat, silence: hour, stuck: hour, first: hour, slow: hour, all: hour }
    };
    const SHORT: Duration = Duration::from_millis(300);

    #[test]
    fn a_rank_that_is_not_heard_of_ends_the_job_with_what_was_waited_for() {
        let worlds = World::patient_threads(3, Patience { silence: Duration::from_secs(2), ..PATIENT });
        // Rank 1 gives no sign of life.
        worlds[0].watch();
        worlds[2].watch();
        let e =
            worlds[2].receive(1, Lane::Features, &|| "features of batch 117 from rank 1".into()).unwrap_err();
        let Error::Rank { rank: 1, cause } = &e else { panic!("{e}") };
        assert!(cause.contains("while rank 2 waits for features of batch 117 from rank 1"), "{cause}");
        assert!(matches!(worlds[0].send(2, Lane::Command, Vec::new()), Err(Error::Rank { rank: 1, .. })));
    }

    /// Without signs of life, which would say whether the other works.
    #[test]
    fn who_waits_for_long_says_for_what() {
        let worlds = World::patient_threads(2, Patience { all: SHORT, ..PATIENT });
        worlds[1].holds("modules 2 to 3".into());
        let e =
            worlds[1].receive(0, Lane::Features, &|| "features of batch 8 from rank 0".into()).unwrap_err();
        let e = e.to_string();
        assert!(e.contains("rank 1: (modules 2 to 3) waited 0 s for features of batch 8 from rank 0"), "{e}");
    }

    #[test]
    fn ranks_that_wait_for_each_other_end() {
        let worlds = World::patient_threads(2, Patience { silence: Duration::from_secs(1), ..PATIENT });
        worlds.iter().for_each(World::watch);
        let other = Arc::clone(&worlds[1]);
        let waits = std::thread::spawn(move || other.receive(0, Lane::Command, &|| "a command".into()));
        let e = worlds[0].receive(1, Lane::Answer, &|| "an answer".into()).unwrap_err().to_string();
        assert!(e.contains("and no rank has done anything for"), "{e}");
        assert!(matches!(waits.join().unwrap(), Err(Error::Rank { .. })));
    }

    #[test]
    fn work_that_does_not_end_ends_the_job() {
        for work in [Work::Step, Work::Other("an evaluation", Duration::ZERO)] {
            let worlds =
                World::patient_threads(2, Patience { stuck: SHORT, first: SHORT, slow: SHORT, ..PATIENT });
            worlds[1].begin(if work == Work::Step { Thread::Stage } else { Thread::Main }, work);
            worlds.iter().for_each(World::watch);
            let e = worlds[0].receive(1, Lane::Losses, &|| "losses".into()).unwrap_err();
            assert!(matches!(&e, Error::Rank { rank: 1, cause } if cause.contains("it hangs")), "{e}");
        }
        // Work that ends does not, nor what waits for another rank's.
        let five = Duration::from_secs(5);
        let worlds = World::patient_threads(2, Patience { stuck: five, first: five, slow: five, ..PATIENT });
        worlds.iter().for_each(World::watch);
        for _ in 0..10 {
            worlds[1].begin(Thread::Stage, Work::Step);
            std::thread::sleep(Duration::from_millis(30));
            worlds[1].end(Thread::Stage);
        }
        assert!(worlds[0].failure().is_none());
        assert!(worlds[1].statuses()[1].busy >= Duration::from_millis(250));
        std::thread::sleep(5 * PATIENT.beat);
        assert!(worlds[0].statuses()[1].busy >= Duration::from_millis(250), "as its signs of life say");
    }

    #[test]
    fn a_panic_is_told_before_what_panicked_is_taken_apart() {
        let worlds = World::threads(2);
        let waiting = Arc::clone(&worlds[1]);
        let panics = std::thread::spawn(move || {
            // Taken apart, it waits for the other rank.
            struct Waits(Arc<World>);
            impl Drop for Waits {
                fn drop(&mut self) {
                    let _ = self.0.receive(1, Lane::Features, &|| "features".into());
                }
            }
            let held = Waits(Arc::clone(&worlds[0]));
            held.0.told_of_panics(|| panic!("nothing to be seen"))
        });
        let e = waiting.receive(0, Lane::Command, &|| "a command".into()).unwrap_err().to_string();
        assert_eq!(e, "rank 0: panicked: nothing to be seen");
        assert!(panics.join().is_err());
    }
}
