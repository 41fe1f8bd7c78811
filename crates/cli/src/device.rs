//! Where to compute, as `--device` names it.

use anyhow::Result;
use mlaan::memory::limit::Limits;
use mlaan_engine::{Device, DeviceKind, Error};

/// Refuses what does not even fit to begin, where threads would fail to start one by one; `threads` as asked for, all cores
/// by default.
///
/// # Errors
/// With both numbers.
pub fn room_to_begin(threads: Option<usize>) -> Result<()> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Limits::of_this_process().check_start(threads.unwrap_or_else(cores), 0)?)
}

/// What `--device` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `cpu`
    Cpu,
    /// `cuda:N`, and `cuda` for the first.
    Cuda(usize),
}

impl Place {
    /// Reads a name.
    ///
    /// # Errors
    /// What is possible, when it is another.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "cpu" => return Ok(Place::Cpu),
            "cuda" => return Ok(Place::Cuda(0)),
            _ => {}
        }
        let number = text.strip_prefix("cuda:").filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
        if let Some(Ok(ordinal)) = number.map(str::parse) {
            return Ok(Place::Cuda(ordinal));
        }
        let plain = text.to_ascii_lowercase();
        let gpu = ["cud", "gpu", "nvidia"].iter().any(|word| plain.contains(word));
        let hint = if gpu { "; a GPU is called cuda, and with several cuda:0, cuda:1, …" } else { "" };
        Err(format!("possible are cpu, cuda and cuda:N{hint} (`mlaan devices` lists what there is)"))
    }

    /// What a plan has to know of it.
    pub fn kind(self, threads: Option<usize>) -> DeviceKind {
        match self {
            Place::Cpu => DeviceKind::Cpu { threads },
            Place::Cuda(_) => DeviceKind::Cuda,
        }
    }

    /// The device, with so many threads of the processor (all cores when `None`).
    ///
    /// # Errors
    /// What is missing.
    pub fn open(self, threads: Option<usize>) -> Result<Device> {
        room_to_begin(threads)?;
        self.open_plainly(threads).map_err(|e| match e {
            mlaan::Error::Engine(Error::Unavailable { .. }) => {
                anyhow::anyhow!("{e}; `mlaan devices` says what there is")
            }
            other => other.into(),
        })
    }

    /// As [`Place::open`], with the library's error.
    ///
    /// # Errors
    /// What is missing.
    pub fn open_plainly(self, threads: Option<usize>) -> mlaan::Result<Device> {
        Ok(match self {
            Place::Cpu => Device::cpu(threads)?,
            Place::Cuda(ordinal) => {
                crate::compiling::watch();
                Device::cuda_with(ordinal, threads)?
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        let cases = [
            ("cpu", Place::Cpu),
            ("cuda", Place::Cuda(0)),
            ("cuda:0", Place::Cuda(0)),
            ("cuda:12", Place::Cuda(12)),
        ];
        for (text, place) in cases {
            assert_eq!(Place::parse(text), Ok(place), "{text}");
        }
        for text in ["abacus", "", "cpu:0", "CPU"] {
            let message = Place::parse(text).unwrap_err();
            assert!(
                message.contains("cpu, cuda and cuda:N") && !message.contains("a GPU"),
                "{text}: {message}"
            );
        }
        for text in ["gpu", "gpu:1", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cuda:+1", "cuda1", "nvidia"] {
            let message = Place::parse(text).unwrap_err();
            assert!(message.contains("a GPU is called cuda"), "{text}: {message}");
        }
        assert!(Place::parse("cuda:99999999999999999999999").is_err());
    }

    #[test]
    fn a_gpus_plan_does_not_depend_on_threads() {
        assert_eq!(Place::Cpu.kind(Some(3)), DeviceKind::Cpu { threads: Some(3) });
        assert_eq!(Place::Cuda(1).kind(Some(3)), DeviceKind::Cuda);
    }
}
