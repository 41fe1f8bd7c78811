//! One rank's view of a job.

use super::mailbox::{Failure, Lane, Mailbox, life};
use crate::{Error, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How bytes get to another rank's mailbox.
pub trait Post: Send + Sync {
    /// Sends bytes; does not wait until they are there. Those of one lane arrive in order.
    fn post(&self, to: usize, lane: Lane, bytes: Vec<u8>);
}

/// How long a rank waits for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Between two signs of life.
    pub beat: Duration,
    /// A rank that is not heard of for so long is stopped, or its machine is.
    pub silence: Duration,
    /// A piece of work that takes so long hangs, unless another has taken a tenth of that before.
    pub stuck: Duration,
    /// As `stuck`, for the first pieces of work, which may compile kernels.
    pub first: Duration,
    /// What is waited for comes within this time, whoever works on it.
    pub all: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            beat: Duration::from_secs(2),
            silence: Duration::from_secs(15),
            stuck: Duration::from_secs(20),
            first: Duration::from_secs(120),
            all: Duration::from_secs(3600),
        }
    }
}

/// Pieces of work that count as the first ones.
const FIRST: u64 = 200;

/// See the module.
pub struct World {
    rank: usize,
    ranks: usize,
    mailbox: Arc<Mailbox>,
    post: Box<dyn Post>,
    /// What of the network is here, for messages.
    part: Mutex<String>,
    patience: Patience,
    began: Instant,
    /// Milliseconds from the beginning to that of the piece of work at hand, and one; 0: there is none.
    working: AtomicU64,
    /// Milliseconds of the longest piece of work, and their number.
    longest: AtomicU64,
    pieces: AtomicU64,
    /// Whether signs of life are sent.
    watched: AtomicBool,
}

impl World {
    /// Rank `rank` of `ranks`; `mailbox` gets what others send to it.
    pub fn new(rank: usize, ranks: usize, mailbox: Arc<Mailbox>, post: Box<dyn Post>) -> Self {
        World {
            rank,
            ranks,
            mailbox,
            post,
            part: Mutex::default(),
            patience: Patience::default(),
            began: Instant::now(),
            working: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            pieces: AtomicU64::new(0),
            watched: AtomicBool::new(false),
        }
    }

    /// With other limits.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        World { patience, ..self }
    }

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
        if i32::try_from(bytes.len()).is_err() {
            let message = format!(
                "a message of {} bytes is too large to be sent; take a smaller train.batch",
                bytes.len()
            );
            return Err(Error::recipe("ranks", message));
        }
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
        let begin = Instant::now();
        loop {
            if let Some(found) = self.mailbox.take(from, lane, Instant::now() + self.patience.beat) {
                return Ok(found);
            }
            self.ends()?;
            if begin.elapsed() > self.patience.all {
                let seconds = begin.elapsed().as_secs();
                self.fail(&format!("waited {seconds} s for {}", what()));
            }
            let ranks = from.map_or(0..self.ranks, |from| from..from + 1);
            for rank in ranks.filter(|&rank| rank != self.rank && self.beats()) {
                let silence = self.mailbox.silence(rank);
                if silence > self.patience.silence {
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

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A piece of work begins that others may wait for.
    pub fn begin_work(&self) {
        self.working.store(self.now() + 1, Ordering::Relaxed);
    }

    /// It has ended, or waits for another rank itself.
    pub fn end_work(&self) {
        let begun = self.working.swap(0, Ordering::Relaxed);
        if begun > 0 {
            self.longest.fetch_max((self.now() + 1).saturating_sub(begun), Ordering::Relaxed);
            self.pieces.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether signs of life are sent: threads of one process need none.
    fn beats(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Sends signs of life from now on, and ends the job when this rank hangs. Ends with the world.
    pub fn watch(self: &Arc<Self>) {
        self.watched.store(true, Ordering::Relaxed);
        self.mailbox.hear_all();
        let world = Arc::downgrade(self);
        // Without it others believe this rank lost: so it must not be missed in silence.
        let thread = std::thread::Builder::new().name("mlaan-life".into()).spawn(move || live(&world));
        if let Err(e) = thread {
            self.fail(&format!("a thread cannot be started: {e}"));
        }
    }

    fn look(&self) {
        self.others().for_each(|to| self.post.post(to, Lane::Life, vec![life::BEAT]));
        let begun = self.working.load(Ordering::Relaxed);
        let (most, longest) = match self.pieces.load(Ordering::Relaxed) < FIRST {
            true => (self.patience.first, 0),
            false => (self.patience.stuck, self.longest.load(Ordering::Relaxed)),
        };
        let taken = Duration::from_millis((self.now() + 1).saturating_sub(begun));
        if begun > 0 && taken > most.max(10 * Duration::from_millis(longest)) {
            self.fail(&format!("it hangs: a module's work has not ended for {} s", taken.as_secs()));
        }
    }
}

fn live(world: &Weak<World>) {
    while let Some(world) = world.upgrade() {
        world.look();
        let beat = world.patience.beat;
        drop(world);
        std::thread::sleep(beat);
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

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
        Patience { beat: Duration::from_millis(10), silence: hour, stuck: hour, first: hour, all: hour }
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

    #[test]
    fn who_waits_for_long_says_for_what() {
        let worlds = World::patient_threads(2, Patience { all: SHORT, ..PATIENT });
        worlds[1].holds("modules 2 to 3".into());
        worlds.iter().for_each(World::watch);
        let e =
            worlds[1].receive(0, Lane::Features, &|| "features of batch 8 from rank 0".into()).unwrap_err();
        let e = e.to_string();
        assert!(e.contains("rank 1: (modules 2 to 3) waited 0 s for features of batch 8 from rank 0"), "{e}");
    }

    #[test]
    fn work_that_does_not_end_ends_the_job() {
        let worlds = World::patient_threads(2, Patience { stuck: SHORT, first: SHORT, ..PATIENT });
        worlds[1].begin_work();
        worlds.iter().for_each(World::watch);
        let e = worlds[0].receive(1, Lane::Losses, &|| "losses".into()).unwrap_err();
        assert!(matches!(&e, Error::Rank { rank: 1, cause } if cause.contains("it hangs")), "{e}");
        // Work that ends does not.
        let five = Duration::from_secs(5);
        let worlds = World::patient_threads(2, Patience { stuck: five, first: five, ..PATIENT });
        worlds.iter().for_each(World::watch);
        for _ in 0..10 {
            worlds[1].begin_work();
            std::thread::sleep(Duration::from_millis(30));
            worlds[1].end_work();
        }
        assert!(worlds[0].failure().is_none());
    }
}
