//! Tensors of other ranks on their way into a checkpoint, and out of one: one at a time, so that rank 0 never holds more.

use super::checkpoint::{Part, Tensors};
use super::tensor_writer::{TensorView, Values};
use crate::files::floats::{add_floats, bytes_of};
use crate::local::{Reader, Writer};
use crate::ranks::{Lane, World};
use crate::{Error, Result};
use std::cell::Cell;

/// Is shown tensors.
pub(super) type Show<'a> = &'a mut dyn FnMut(&TensorView<'_>) -> Result<()>;

/// What a rank says of its tensors.
const END: u64 = 0;
const TENSOR: u64 = 1;

fn floats(bytes: &[u8]) -> Vec<f32> {
    let mut values = Vec::new();
    add_floats(&mut values, bytes);
    values
}

/// In rank 0: shows the tensors that rank `rank` [tells](tell). Values are fetched where they are wanted.
pub(super) fn listen(world: &World, rank: usize, show: Show<'_>) -> Result<()> {
    let what = || format!("a tensor for the checkpoint from rank {rank}");
    loop {
        let said = world.receive(rank, Lane::Answer, &what)?;
        let mut said = Reader(&said);
        if said.number()? == END {
            return Ok(());
        }
        let name = text(said.bytes()?)?;
        let shape = (0..said.count()?).map(|_| said.count()).collect::<Result<Vec<usize>>>()?;
        let fetched = Cell::new(false);
        let fetch = || {
            fetched.set(true);
            world.send(rank, Lane::Reply, vec![1])?;
            Ok(floats(&world.receive(rank, Lane::Answer, &what)?))
        };
        show(&TensorView { name: &name, shape: &shape, values: Values::Lazy(&fetch) })?;
        if !fetched.get() {
            world.send(rank, Lane::Reply, vec![0])?;
        }
    }
}

/// In another rank: tells rank 0 of the tensors that `each` shows.
pub(super) fn tell(world: &World, each: impl FnOnce(Show<'_>) -> Result<()>) -> Result<()> {
    each(&mut |t| {
        let head = Writer::default().number(TENSOR).bytes(t.name.as_bytes()).number(t.shape.len() as u64);
        let head = t.shape.iter().fold(head, |to, n| to.number(*n as u64));
        world.send(0, Lane::Answer, head.done())?;
        let wanted = world.receive(0, Lane::Reply, &|| format!("rank 0 to take {}", t.name))?;
        match wanted.first() {
            Some(1) => world.send(0, Lane::Answer, bytes_of(&t.values()?).into_owned()),
            _ => Ok(()),
        }
    })?;
    world.send(0, Lane::Answer, Writer::default().number(END).done())
}

/// Where a learner has a checkpoint's values from.
pub(super) trait Source {
    /// Whether there is such a tensor.
    fn has(&self, part: Part, name: &str) -> Result<bool>;

    /// The values of a tensor of this shape.
    fn read(&self, part: Part, name: &str, shape: &[usize]) -> Result<Vec<f32>>;
}

impl Source for Tensors {
    fn has(&self, part: Part, name: &str) -> Result<bool> {
        Ok(file(self, part).shape(name).is_some())
    }

    fn read(&self, part: Part, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        file(self, part).read(name, shape)
    }
}

fn file(tensors: &Tensors, part: Part) -> &super::TensorFile {
    match part {
        Part::Model => &tensors.model,
        Part::State => &tensors.state,
    }
}

/// A checkpoint that rank 0 has open.
pub(super) struct Asked<'a>(pub &'a World);

const HAS: u64 = 1;
const READ: u64 = 2;

impl Asked<'_> {
    fn ask(&self, (what, part): (u64, Part), name: &str, shape: &[usize]) -> Result<Vec<u8>> {
        let part = u64::from(part == Part::Model);
        let to =
            Writer::default().number(what).number(part).bytes(name.as_bytes()).number(shape.len() as u64);
        let to = shape.iter().fold(to, |to, n| to.number(*n as u64));
        self.0.send(0, Lane::Answer, to.done())?;
        self.0.receive(0, Lane::Reply, &|| format!("{name} of the checkpoint from rank 0"))
    }

    /// Nothing more is asked.
    pub fn done(&self) -> Result<()> {
        self.0.send(0, Lane::Answer, Writer::default().number(END).done())
    }
}

impl Source for Asked<'_> {
    fn has(&self, part: Part, name: &str) -> Result<bool> {
        Ok(self.ask((HAS, part), name, &[])?.first() == Some(&1))
    }

    fn read(&self, part: Part, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        Ok(floats(&self.ask((READ, part), name, shape)?))
    }
}

/// In rank 0: answers what rank `rank` asks of a checkpoint.
pub(super) fn answer(world: &World, rank: usize, tensors: &dyn Source) -> Result<()> {
    loop {
        let asked =
            world.receive(rank, Lane::Answer, &|| format!("rank {rank} to take over the checkpoint"))?;
        let mut asked = Reader(&asked);
        let what = asked.number()?;
        if what == END {
            return Ok(());
        }
        let part = if asked.number()? == 1 { Part::Model } else { Part::State };
        let name = text(asked.bytes()?)?;
        let shape = (0..asked.count()?).map(|_| asked.count()).collect::<Result<Vec<usize>>>()?;
        let reply = match what {
            HAS => vec![u8::from(tensors.has(part, &name)?)],
            _ => bytes_of(&tensors.read(part, &name, &shape)?).into_owned(),
        };
        world.send(rank, Lane::Reply, reply)?;
    }
}

fn text(bytes: &[u8]) -> Result<String> {
    let wrong = |_| Error::ranks("a name that another rank sent is no text");
    String::from_utf8(bytes.to_vec()).map_err(wrong)
}
