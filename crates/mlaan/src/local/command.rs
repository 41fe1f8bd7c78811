//! What rank 0 asks of the other ranks, as bytes.

use super::StepOptions;
use super::link::broken;
use super::wire::{Reader, Writer};
use crate::{Error, Result};

/// What rank 0 asks of the others.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    /// To take the next batch; what follows is the batch.
    Step { number: u64, options: StepOptions },
    /// To end what was begun, as no batch follows for now.
    Flush,
    /// To end it and to say so.
    Idle,
    /// To classify what comes from below: a batch by its number in the evaluation.
    Infer { number: u64 },
    /// To let the EMA of the weights begin again.
    RestartAverage,
    /// To exchange the EMA and the weights.
    ExchangeAverage,
    /// To show tensors of a part of a checkpoint.
    Show { model: bool, section: u64 },
    /// To take over a checkpoint's values.
    Restore { training: bool },
    /// To build its part of the network; what follows says which.
    Begin,
    /// All is done.
    End,
}

impl Command {
    /// What it asks for, in words.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Step { .. } => "taking a batch",
            Command::Flush | Command::Idle => "ending a batch",
            Command::Infer { .. } => "an evaluation",
            Command::RestartAverage | Command::ExchangeAverage => "the EMA of the weights",
            Command::Show { .. } | Command::Restore { .. } => "a checkpoint",
            Command::Begin => "its set-up",
            Command::End => "its end",
        }
    }

    /// As bytes; `batch` follows.
    pub fn write(&self, batch: &[u8]) -> Vec<u8> {
        let to = Writer::default();
        let to = match *self {
            Command::Step { number, options: o } => [o.backbone, o.independent, o.cascaded]
                .into_iter()
                .fold(to.number(0).number(number).number(o.step), |to, lr| {
                    to.number(u64::from(lr.to_bits()))
                }),
            Command::Flush => to.number(1),
            Command::Idle => to.number(2),
            Command::Infer { number } => to.number(3).number(number),
            Command::RestartAverage => to.number(4),
            Command::ExchangeAverage => to.number(5),
            Command::Show { model, section } => to.number(6).number(model.into()).number(section),
            Command::Restore { training } => to.number(7).number(training.into()),
            Command::End => to.number(8),
            Command::Begin => to.number(9),
        };
        to.bytes(batch).done()
    }

    /// What [`Command::write`] wrote.
    ///
    /// # Errors
    /// When it did not.
    pub fn read(bytes: &[u8]) -> Result<(Self, &[u8])> {
        let mut from = Reader(bytes);
        let command = match from.number()? {
            0 => {
                let (number, step) = (from.number()?, from.number()?);
                let mut rate = || Ok::<_, Error>(f32::from_bits(from.number()? as u32));
                let (backbone, independent, cascaded) = (rate()?, rate()?, rate()?);
                Command::Step { number, options: StepOptions { backbone, independent, cascaded, step } }
            }
            1 => Command::Flush,
            2 => Command::Idle,
            3 => Command::Infer { number: from.number()? },
            4 => Command::RestartAverage,
            5 => Command::ExchangeAverage,
            6 => Command::Show { model: from.number()? == 1, section: from.number()? },
            7 => Command::Restore { training: from.number()? == 1 },
            8 => Command::End,
            9 => Command::Begin,
            other => return Err(broken(format!("command {other} of rank 0 is unknown"))),
        };
        Ok((command, from.bytes()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_as_they_were_asked() {
        let options = StepOptions { backbone: 0.1, independent: -0.0, cascaded: f32::MIN_POSITIVE, step: 9 };
        let all = [
            Command::Step { number: 7, options },
            Command::Flush,
            Command::Idle,
            Command::Infer { number: 11 },
            Command::RestartAverage,
            Command::ExchangeAverage,
            Command::Show { model: true, section: 5 },
            Command::Restore { training: true },
            Command::End,
            Command::Begin,
        ];
        for command in all {
            let bytes = command.write(&[1, 2, 3]);
            let (read, batch) = Command::read(&bytes).unwrap();
            assert_eq!((read, batch), (command, [1, 2, 3].as_slice()));
            (0..bytes.len()).for_each(|n| assert!(Command::read(&bytes[..n]).is_err(), "{n} bytes"));
        }
    }
}
