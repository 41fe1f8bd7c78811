//! The link of a stage to those of other ranks, over a [`World`].

use super::Method;
use super::link::{Link, Message, MessageKind};
use crate::Result;
use crate::ranks::{Lane, Thread, Work, World};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

impl MessageKind {
    fn lane(self) -> Lane {
        match self {
            MessageKind::Features => Lane::Features,
            MessageKind::Gradient => Lane::Gradient,
            MessageKind::Sources => Lane::Sources,
        }
    }

    fn credit(self) -> Lane {
        match self {
            MessageKind::Features => Lane::FeaturesCredit,
            MessageKind::Gradient => Lane::GradientCredit,
            MessageKind::Sources => Lane::SourcesCredit,
        }
    }

    fn name(self) -> &'static str {
        match self {
            MessageKind::Features => "features",
            MessageKind::Gradient => "a gradient",
            MessageKind::Sources => "parameters of mirrored blocks",
        }
    }
}

/// What may still be sent to a rank before it has taken one, by the lane in which it says so. It outlasts a link, as credits may
/// arrive behind its end.
#[derive(Debug, Default)]
pub(super) struct Credits(Mutex<BTreeMap<(usize, Lane), usize>>);

impl Credits {
    /// Waits until rank `to` has room for one more message, where `most` may wait there; `what` names the message.
    ///
    /// # Errors
    /// The end of the job.
    pub fn spend(
        &self,
        world: &World,
        (to, lane, most): (usize, Lane, usize),
        what: &dyn Fn() -> String,
    ) -> Result<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = all.entry((to, lane)).or_insert(most);
        while world.receive_now(to, lane).is_some() {
            *left += 1;
        }
        if *left > 0 {
            *left -= 1;
            return Ok(());
        }
        drop(all);
        world.receive(to, lane, &|| format!("rank {to} to take {}", what())).map(drop)
    }
}

/// The link of the stage that a rank holds: stages are numbered as ranks. As between threads, so many messages of a kind
/// [may wait](MessageKind::waiting) at the receiver; who sends more waits for a credit.
pub(super) struct RankLink {
    pub world: Arc<World>,
    pub method: Method,
    pub credits: Arc<Credits>,
}

impl Link for RankLink {
    fn send(&mut self, to: usize, message: Message) -> Result<()> {
        let kind = message.kind;
        let room = (to, kind.credit(), kind.waiting(&self.method));
        let what = || format!("{} of batch {}", kind.name(), message.batch);
        self.credits.spend(&self.world, room, &what)?;
        self.world.send(to, kind.lane(), message.write())
    }

    fn receive(&mut self, from: usize, kind: MessageKind, batch: u64) -> Result<Message> {
        let what = || format!("{} of batch {batch} from rank {from}", kind.name());
        let bytes = self.world.receive(from, kind.lane(), &what)?;
        self.world.send(from, kind.credit(), Vec::new())?;
        Message::read(kind, &bytes)
    }

    fn begins(&mut self) {
        self.world.begin(Thread::Stage, Work::Step);
    }

    fn ends(&mut self) {
        self.world.end(Thread::Stage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn who_sends_more_than_may_wait_waits_for_a_credit() {
        let worlds = World::threads(2);
        let link = |k: usize| RankLink {
            world: Arc::clone(&worlds[k]),
            method: Method::default(),
            credits: Arc::default(),
        };
        let (mut a, mut b) = (link(0), link(1));
        let message =
            |batch| Message { batch, kind: MessageKind::Features, cascade: None, values: Vec::new() };
        a.send(1, message(0)).unwrap();
        let sender = std::thread::spawn(move || (a.send(1, message(1)), a));
        std::thread::sleep(std::time::Duration::from_millis(30));
        assert!(!sender.is_finished(), "the first was not taken");
        assert_eq!(b.receive(0, MessageKind::Features, 0).unwrap().batch, 0);
        let (sent, mut a) = sender.join().unwrap();
        sent.unwrap();
        assert_eq!(b.receive(0, MessageKind::Features, 1).unwrap().batch, 1);
        worlds[1].fail("gone");
        assert!(matches!(a.receive(1, MessageKind::Gradient, 0), Err(Error::Rank { rank: 1, .. })));
    }
}
