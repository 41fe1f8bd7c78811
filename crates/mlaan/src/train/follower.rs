//! A rank that another leads: it trains its modules and knows no images, no epochs and no files.

use super::checkpoint::Part;
use super::gathered::{self, Asked};
use super::ranks::{Begin, greet};
use super::state::{restore_from, show_section};
use crate::local::{Command, Learner};
use crate::memory::bytes::written;
use crate::process::Status;
use crate::ranks::{Failure, Lane, Thread, Work, World};
use crate::recipe::Recipe;
use crate::{Error, Result};
use mlaan_engine::Device;
use std::sync::Arc;
use std::time::Duration;

/// Trains a part of the network on `device` until rank 0 says that all is done. `recipe` is what this rank was started with;
/// none where the run goes on as its folder says.
///
/// # Errors
/// Out of memory; the end of the job ([`Error::Rank`]): its cause may lie in any rank.
pub fn follow(world: &Arc<World>, recipe: Option<&Recipe>, device: &Device) -> Result<()> {
    let (memory, mut learner) = (device.clone(), None);
    world.measures(move || held(&memory));
    // What it has of the network is taken apart when the others know why.
    let ended = world.told_of_panics(|| obey_all(world, recipe, device, &mut learner));
    ended.map_err(|e| cause(world, e)).inspect_err(|e| {
        // Before rank 0 hears of it, which closes the logs then.
        world.log(&format!("error: {e}"));
        world.fail(&e.to_string());
    })
}

/// Why a rank ends. Its main thread may notice that its stage has ended before it reads why: the job's failure is known by then.
fn cause(world: &World, found: Error) -> Error {
    match (&found, world.failure()) {
        (Error::StageEnded { .. }, Some(Failure { rank, cause })) => Error::Rank { rank, cause },
        _ => found,
    }
}

fn obey_all(
    world: &Arc<World>,
    recipe: Option<&Recipe>,
    device: &Device,
    learner: &mut Option<Learner>,
) -> Result<()> {
    greet(world, recipe, device)?;
    world.end(Thread::Main);
    loop {
        let said = world.receive(0, Lane::Command, &|| "rank 0 to say what to do next".into())?;
        let (command, more) = Command::read(&said)?;
        let work = Work::Other(command.name(), Duration::ZERO);
        match (command, &mut *learner) {
            (Command::End, _) => return Ok(()),
            (Command::Begin, learner) => {
                *learner = Some(world.at(Work::SetUp, || Begin::read(more)?.learner(world, device))?);
            }
            (command, Some(learner)) => {
                let ends = command == Command::Idle;
                world.at(work, || obey(world, learner, &command, more))?;
                if ends {
                    world.log(&doing(world));
                }
            }
            (_, None) => return Err(Error::ranks("rank 0 asks before it has begun")),
        }
    }
}

/// How this rank is doing, for its log.
fn doing(world: &World) -> String {
    let own = world.statuses().get(world.rank()).copied().unwrap_or_default();
    let seconds = |d: Duration| d.as_secs_f64();
    let (busy, waited, memory) = (seconds(own.busy), seconds(own.waited), written(own.memory));
    format!("busy {busy:.1} s in steps, waited {waited:.1} s, holds {memory}")
}

/// Bytes that this process holds at the most, as its plan counts them.
pub(super) fn held(device: &Device) -> u64 {
    let resident = Status::read().filter(|_| !device.kind().has_own_memory());
    resident.map_or_else(|| device.usage().footprint as u64, |status| status.peak)
}

/// Lets ranks end that another leads and that have nothing to do.
///
/// # Errors
/// The end of the job.
pub fn dismiss(world: &World) -> Result<()> {
    world.others().try_for_each(|rank| world.send(rank, Lane::Command, Command::End.write(&[])))
}

fn obey(world: &World, learner: &mut Learner, command: &Command, more: &[u8]) -> Result<()> {
    match *command {
        Command::Show { model, section } => {
            let part = if model { Part::Model } else { Part::State };
            let found = learner.sections().into_iter().find(|s| s.number() == section);
            let unknown = || Error::ranks(format!("rank 0 asks for part {section}, which is unknown"));
            let section = found.ok_or_else(unknown)?;
            gathered::tell(world, |show| show_section(learner, part, section, show))
        }
        Command::Restore { training } => {
            let asked = Asked(world);
            restore_from(learner, &asked, training)?;
            asked.done()
        }
        _ => learner.obey(command, more),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_ended_is_told_by_what_ended_the_job() {
        let worlds = World::threads(2);
        let ended = || Error::StageEnded { stage: 0 };
        assert!(matches!(cause(&worlds[0], ended()), Error::StageEnded { .. }));
        worlds[1].fail("out of memory");
        let told = cause(&worlds[0], ended());
        assert!(matches!(&told, Error::Rank { rank: 1, cause } if cause == "out of memory"), "{told}");
        let own = cause(&worlds[0], Error::ranks("unknown"));
        assert!(matches!(own, Error::Ranks { .. }), "{own}");
    }
}
