//! A network whose stages are processes: each rank holds one, and rank 0 leads.
//!
//! Only rank 0 has images, decides and writes. What it asks of its learner goes to the others as [`Command`]s, which they
//! obey in order; features, gradients and mirrored parameters go from stage to stage meanwhile.

use super::command::Command;
use super::link::{Values, broken};
use super::pipeline::Pipeline;
use super::rank_link::{Credits, RankLink};
use super::relay::Relay;
use super::schedule::Schedule;
use super::stage::{Plan, Stage};
use super::wire::{Reader, Writer};
use crate::Result;
use crate::ranks::{Lane, World};
use std::ops::Range;
use std::sync::Arc;

/// Batches of an evaluation that may wait at a rank.
pub(super) const INFERENCES: usize = 1;

/// What of a network that ranks train this process knows.
pub(super) struct Ranked {
    pub world: Arc<World>,
    /// The modules of every rank.
    pub ranges: Vec<Range<usize>>,
    pub credits: Arc<Credits>,
    /// Batches of evaluations that were asked for.
    pub inferred: u64,
}

impl Ranked {
    /// Of this process, in a job whose ranks have these modules.
    pub fn new(world: Arc<World>, ranges: Vec<Range<usize>>) -> Self {
        Ranked { world, ranges, credits: Arc::default(), inferred: 0 }
    }

    /// Asks all other ranks.
    ///
    /// # Errors
    /// The end of the job.
    pub fn ask(&self, command: &Command) -> Result<()> {
        self.world.others().try_for_each(|to| self.world.send(to, Lane::Command, command.write(&[])))
    }

    /// Waits until all other ranks have answered.
    ///
    /// # Errors
    /// The end of the job.
    pub fn answers(&self, what: &str) -> Result<()> {
        for rank in self.world.others() {
            self.world.receive(rank, Lane::Answer, &|| format!("rank {rank} to {what}"))?;
        }
        Ok(())
    }

    /// Whether this process leads the others.
    pub fn is_leader(&self) -> bool {
        self.world.rank() == 0
    }

    /// Sends what comes of a batch of an evaluation on: to the rank above, which takes it [one at a time](INFERENCES), or from the
    /// last one to rank 0, which asks for no more than it reads at once.
    ///
    /// # Errors
    /// The end of the job.
    pub fn send_inference(&self, number: u64, values: &Values) -> Result<()> {
        let (world, above) = (&self.world, self.world.rank() + 1);
        let bytes = values.write(Writer::default().number(number)).done();
        if above == world.ranks() {
            return world.send(0, Lane::Inference, bytes);
        }
        let room = (above, Lane::InferenceCredit, INFERENCES);
        self.credits.spend(world, room, &|| format!("features to classify of batch {number}"))?;
        world.send(above, Lane::Inference, bytes)
    }

    /// What rank `from` sends of a batch of an evaluation.
    ///
    /// # Errors
    /// The end of the job; another batch.
    pub fn take_inference(&self, from: usize, what: &str, number: u64) -> Result<Values> {
        let named = || format!("{what} of batch {number} from rank {from}");
        let bytes = self.world.receive(from, Lane::Inference, &named)?;
        let mut read = Reader(&bytes);
        match read.number()? {
            found if found == number => Values::read(&mut read),
            found => Err(broken(format!("{what} of batch {found} came from rank {from} for batch {number}"))),
        }
    }

    /// Sets the stage of this rank to work.
    ///
    /// # Errors
    /// As [`Pipeline::start`].
    pub fn start(&self, stages: Vec<Stage>, schedule: &Arc<Schedule>, plan: &Plan) -> Result<Pipeline> {
        let method = plan.method.clone();
        let link = RankLink { world: Arc::clone(&self.world), method, credits: Arc::clone(&self.credits) };
        let relay = Relay { world: Arc::clone(&self.world), stages: self.ranges.len() };
        Pipeline::start(stages, schedule, vec![Box::new(link)], Some(relay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlaan_engine::DType;

    fn ranked(worlds: &[Arc<World>], k: usize) -> Ranked {
        Ranked::new(Arc::clone(&worlds[k]), vec![0..1, 1..2])
    }

    #[test]
    fn what_is_classified_names_its_batch() {
        let worlds = World::threads(2);
        let (a, b) = (ranked(&worlds, 0), ranked(&worlds, 1));
        let values = Values::from_raw([1].into(), DType::F32, vec![0, 0, 128, 63]);
        b.send_inference(7, &values).unwrap();
        b.send_inference(8, &values).unwrap();
        assert_eq!(a.take_inference(1, "logits", 7).unwrap(), values);
        let e = a.take_inference(1, "logits", 9).unwrap_err().to_string();
        assert!(e.contains("logits of batch 8 came from rank 1 for batch 9"), "{e}");
    }

    #[test]
    fn features_to_classify_wait_one_at_a_time() {
        let worlds = World::threads(2);
        let (a, b) = (ranked(&worlds, 0), ranked(&worlds, 1));
        let values = Values::from_raw([4].into(), DType::F32, vec![7; 16]);
        let sent = values.clone();
        let sender = std::thread::spawn(move || (0..5).try_for_each(|n| a.send_inference(n, &sent)));
        for n in 0..5 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert_eq!(b.take_inference(0, "features", n).unwrap(), values);
            b.world.send(0, Lane::InferenceCredit, Vec::new()).unwrap();
        }
        sender.join().unwrap().unwrap();
        assert_eq!(worlds[1].peak_bytes(), values.write(Writer::default().number(0)).done().len());
    }
}
