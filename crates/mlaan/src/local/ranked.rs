//! A network whose stages are processes: each rank holds one, and rank 0 leads.
//!
//! Only rank 0 has images, decides and writes. What it asks of its learner goes to the others as [`Command`]s, which they
//! obey in order; features, gradients and mirrored parameters go from stage to stage meanwhile.

use super::command::Command;
use super::pipeline::Pipeline;
use super::rank_link::{Credits, RankLink};
use super::relay::Relay;
use super::schedule::Schedule;
use super::stage::{Plan, Stage};
use crate::Result;
use crate::ranks::{Lane, World};
use std::ops::Range;
use std::sync::Arc;

/// What of a network that ranks train this process knows.
pub(super) struct Ranked {
    pub world: Arc<World>,
    /// The modules of every rank.
    pub ranges: Vec<Range<usize>>,
    pub credits: Credits,
}

impl Ranked {
    /// Of this process, in a job whose ranks have these modules.
    pub fn new(world: Arc<World>, ranges: Vec<Range<usize>>) -> Self {
        Ranked { world, ranges, credits: Credits::default() }
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
