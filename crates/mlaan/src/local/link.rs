//! What crosses the edges of stages, and how it gets there.

use super::Method;
use crate::{Error, Result};
use mlaan_engine::{DType, Device, MemoryCategory, Shape, Tensor};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// A tensor's values in host memory, as they are stored: bf16 stays 2 bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Values {
    shape: Shape,
    dtype: DType,
    /// None from a device that computes nothing.
    bytes: Vec<u8>,
}

impl Values {
    /// Copies a tensor's values; waits for the operations that make them.
    ///
    /// # Errors
    /// From the device.
    pub fn of(device: &Device, tensor: &Tensor) -> Result<Self> {
        let mut bytes = Vec::new();
        if device.computes() {
            bytes.resize(tensor.len() * tensor.dtype().bytes(), 0);
            device.download_bytes(tensor, &mut bytes)?;
        }
        Ok(Values { shape: tensor.shape(), dtype: tensor.dtype(), bytes })
    }

    /// A new tensor of these values.
    ///
    /// # Errors
    /// Out of memory.
    pub fn on(&self, device: &Device, category: MemoryCategory) -> Result<Tensor> {
        let mut tensor = device.alloc(self.shape, self.dtype, category)?;
        self.copy_to(device, &mut tensor)?;
        Ok(tensor)
    }

    /// Of these bytes, or of none from a device that computes nothing.
    pub fn from_raw(shape: Shape, dtype: DType, bytes: Vec<u8>) -> Self {
        Values { shape, dtype, bytes }
    }

    /// The sizes.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// As they are stored.
    pub fn raw(&self) -> &[u8] {
        &self.bytes
    }

    /// Values of 32 bits.
    pub fn floats(&self) -> Vec<f32> {
        self.bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }

    /// Rows: the first size.
    pub fn rows(&self) -> usize {
        self.shape.dims().first().map_or(0, |n| *n)
    }

    /// A new tensor of some rows.
    ///
    /// # Errors
    /// Out of memory.
    pub fn rows_on(&self, rows: Range<usize>, device: &Device, category: MemoryCategory) -> Result<Tensor> {
        let row = self.shape.elements() / self.rows().max(1) * self.dtype.bytes();
        let n = rows.len();
        let shape: Shape = match *self.shape.dims() {
            [_, h, w, c] => [n, h, w, c].into(),
            [_, w, c] => [n, w, c].into(),
            [_, c] => [n, c].into(),
            _ => [n].into(),
        };
        let mut tensor = device.alloc(shape, self.dtype, category)?;
        if device.computes() {
            device.upload_bytes(&mut tensor, &self.bytes[rows.start * row..rows.end * row])?;
        }
        Ok(tensor)
    }

    /// Copies the values into a tensor of the same shape and type.
    ///
    /// # Errors
    /// Other sizes or another type.
    pub fn copy_to(&self, device: &Device, tensor: &mut Tensor) -> Result<()> {
        if (tensor.shape(), tensor.dtype()) != (self.shape, self.dtype) {
            return Err(broken(format!(
                "{:?} {:?} came for {:?} {:?}",
                self.dtype,
                self.shape.dims(),
                tensor.dtype(),
                tensor.shape().dims()
            )));
        }
        if device.computes() { Ok(device.upload_bytes(tensor, &self.bytes)?) } else { Ok(()) }
    }
}

/// Which of the messages between two stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MessageKind {
    /// A stage's output, to the stage above.
    Features,
    /// A cascade's gradient at that output, to the stage below.
    Gradient,
    /// Values of blocks that the receiver mirrors.
    Sources,
}

impl MessageKind {
    /// Messages of this kind that may wait between two stages. One is enough for any schedule, where copies do not lag
    /// behind. Where they do, a version for every step; and a stage that begins a batch waits for one while gradients of the
    /// batch before wait for it, one of every cascade.
    pub fn waiting(self, method: &Method) -> usize {
        match (self, method.lag()) {
            (MessageKind::Sources, lag) => lag + 1,
            (MessageKind::Gradient, 1..) => method.span().saturating_sub(1).max(1),
            _ => 1,
        }
    }
}

/// Messages that [may wait](MessageKind::waiting) between two stages, by their kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rooms {
    pub features: usize,
    pub gradient: usize,
    pub sources: usize,
}

impl Rooms {
    /// Those of a method.
    pub fn of(method: &Method) -> Self {
        let [features, gradient, sources] =
            [MessageKind::Features, MessageKind::Gradient, MessageKind::Sources].map(|k| k.waiting(method));
        Rooms { features, gradient, sources }
    }
}

/// What one stage sends to another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    /// The batch that it belongs to, counted from the beginning of the work.
    pub batch: u64,
    /// What it is.
    pub kind: MessageKind,
    /// Of a gradient: whose.
    pub cascade: Option<usize>,
    /// One tensor, or all of several blocks.
    pub values: Vec<Values>,
}

/// How a stage's messages get to others and theirs to it.
pub(super) trait Link: Send {
    /// Hands a message to stage `to`; waits while one of its kind has not been taken there.
    ///
    /// # Errors
    /// [`Error::StageEnded`] when that stage works no more.
    fn send(&mut self, to: usize, message: Message) -> Result<()>;

    /// The next message of a kind from stage `from`; waits for it. It should be of batch `batch`.
    ///
    /// # Errors
    /// As [`Link::send`].
    fn receive(&mut self, from: usize, kind: MessageKind, batch: u64) -> Result<Message>;

    /// Nothing is sent any more, and no batch taken: whoever waits for either is told. What is on its way still comes.
    fn finish(&mut self) {}

    /// A piece of work begins, and the one before has ended: others may wait for its end.
    fn begins(&mut self) {}

    /// The last one has ended.
    fn ends(&mut self) {}
}

/// The link of a stage that is alone: nobody is there to send to.
pub(super) struct Alone;

impl Link for Alone {
    fn send(&mut self, to: usize, _: Message) -> Result<()> {
        Err(Error::StageEnded { stage: to })
    }

    fn receive(&mut self, from: usize, _: MessageKind, _: u64) -> Result<Message> {
        Err(Error::StageEnded { stage: from })
    }
}

/// Queues between threads of one process, with room for [so many](MessageKind::waiting) messages of a kind between two stages. Whoever waits is told when the other end is gone, so that the end of one stage ends all.
#[derive(Default)]
pub(super) struct Channels {
    to: BTreeMap<(usize, MessageKind), SyncSender<Message>>,
    from: BTreeMap<(usize, MessageKind), Receiver<Message>>,
}

impl Channels {
    /// The links of `stages` stages; neighbours exchange features and gradients, and all may mirror each other's blocks.
    pub fn among(stages: usize, method: &Method) -> Vec<Self> {
        let mut links: Vec<Channels> = (0..stages).map(|_| Channels::default()).collect();
        for (from, to) in (0..stages).flat_map(|a| (0..stages).map(move |b| (a, b))).filter(|(a, b)| a != b) {
            let edge = match (from + 1 == to, to + 1 == from) {
                (true, _) => Some(MessageKind::Features),
                (_, true) => Some(MessageKind::Gradient),
                _ => None,
            };
            for kind in edge.into_iter().chain([MessageKind::Sources]) {
                let (sender, receiver) = sync_channel(kind.waiting(method));
                links[from].to.insert((to, kind), sender);
                links[to].from.insert((from, kind), receiver);
            }
        }
        links
    }
}

impl Link for Channels {
    fn send(&mut self, to: usize, message: Message) -> Result<()> {
        let queue = self.to.get(&(to, message.kind));
        let sent = queue.is_some_and(|q| q.send(message).is_ok());
        if sent { Ok(()) } else { Err(Error::StageEnded { stage: to }) }
    }

    fn receive(&mut self, from: usize, kind: MessageKind, _: u64) -> Result<Message> {
        let queue = self.from.get(&(from, kind));
        queue.and_then(|q| q.recv().ok()).ok_or(Error::StageEnded { stage: from })
    }

    fn finish(&mut self) {
        self.to.clear();
        self.from.retain(|(_, kind), _| *kind == MessageKind::Sources);
    }
}

/// Stages that disagree about their work.
pub(super) fn broken(message: String) -> Error {
    Error::Engine(mlaan_engine::Error::Failed { device: "link between stages".into(), message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlaan_engine::Bf16;

    fn message(batch: u64, kind: MessageKind) -> Message {
        Message { batch, kind, cascade: None, values: Vec::new() }
    }

    #[test]
    fn values_keep_their_bits_and_their_type() {
        let (a, b) = (Device::cpu(Some(1)).unwrap(), Device::cpu(Some(1)).unwrap());
        let mut floats = a.alloc([2, 3], DType::F32, MemoryCategory::Data).unwrap();
        let odd = [f32::NAN, -0.0, 1e-42, f32::INFINITY, 0.1, -7.0];
        a.upload(&mut floats, &odd).unwrap();
        let values = Values::of(&a, &floats).unwrap();
        let there = values.on(&b, MemoryCategory::Activations).unwrap();
        let bits = |v: Vec<f32>| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(b.download(&there).unwrap()), bits(odd.to_vec()));
        let mut halves = a.alloc([1, 1, 1, 2], DType::Bf16, MemoryCategory::Data).unwrap();
        a.upload(&mut halves, &[0.1, -3.0].map(Bf16::from_f32)).unwrap();
        let sent = Values::of(&a, &halves).unwrap();
        assert_eq!(sent.bytes.len(), 4);
        let there = sent.on(&b, MemoryCategory::Activations).unwrap();
        assert_eq!((there.shape(), there.dtype()), (halves.shape(), DType::Bf16));
        assert_eq!(b.download(&there).unwrap(), a.download(&halves).unwrap());
        let mut other = b.alloc([3, 2], DType::F32, MemoryCategory::Data).unwrap();
        let err = values.copy_to(&b, &mut other).unwrap_err().to_string();
        assert!(err.contains("[2, 3]") && err.contains("[3, 2]"), "{err}");
    }

    #[test]
    fn messages_of_a_kind_come_in_order_and_wait_for_each_other() {
        let mut links = Channels::among(3, &Method::default());
        let (mut c, mut b, mut a) = (links.pop().unwrap(), links.pop().unwrap(), links.pop().unwrap());
        a.send(1, message(0, MessageKind::Features)).unwrap();
        a.send(1, message(0, MessageKind::Sources)).unwrap();
        a.send(2, message(0, MessageKind::Sources)).unwrap();
        let sender = std::thread::spawn(move || {
            // Waits until the first is taken.
            a.send(1, message(1, MessageKind::Features)).unwrap();
            a
        });
        assert_eq!(b.receive(0, MessageKind::Sources, 0).unwrap(), message(0, MessageKind::Sources));
        assert_eq!(b.receive(0, MessageKind::Features, 0).unwrap().batch, 0);
        assert_eq!(b.receive(0, MessageKind::Features, 0).unwrap().batch, 1);
        assert_eq!(c.receive(0, MessageKind::Sources, 0).unwrap().batch, 0);
        drop(sender.join().unwrap());
        assert!(
            matches!(c.receive(0, MessageKind::Features, 0), Err(Error::StageEnded { stage: 0 })),
            "no neighbour"
        );
    }

    #[test]
    fn every_wait_ends_when_the_other_end_is_gone() {
        let mut links = Channels::among(2, &Method::default());
        let (mut b, mut a) = (links.pop().unwrap(), links.pop().unwrap());
        a.send(1, message(0, MessageKind::Features)).unwrap();
        let waiting = std::thread::spawn(move || {
            let full = a.send(1, message(1, MessageKind::Features));
            (full, a.receive(1, MessageKind::Gradient, 0).map(drop))
        });
        std::thread::sleep(std::time::Duration::from_millis(20));
        drop(b.receive(0, MessageKind::Features, 0).unwrap());
        drop(b);
        let (_, gradient) = waiting.join().unwrap();
        assert!(matches!(gradient, Err(Error::StageEnded { stage: 1 })));
        assert!(Alone.receive(1, MessageKind::Gradient, 0).is_err());
    }
}
