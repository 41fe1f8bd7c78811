//! Where the stages of a run compute.

use crate::device::Place;
use anyhow::{Result, bail};
use mlaan_engine::{Device, DeviceKind};

/// What `--device` names where a run may have several stages: a device, or one for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places(Vec<Place>);

impl Places {
    /// Reads names, separated by commas.
    ///
    /// # Errors
    /// What is possible, when one is another; the processor and GPUs together.
    pub fn parse(text: &str) -> Result<Self, String> {
        let places = text.split(',').map(Place::parse).collect::<Result<Vec<_>, _>>()?;
        let on_cpu = places.iter().filter(|p| **p == Place::Cpu).count();
        match on_cpu == 0 || on_cpu == places.len() {
            true => Ok(Places(places)),
            false => Err("stages compute on the processor or on GPUs, not on both".into()),
        }
    }

    /// The first of them.
    pub fn first(&self) -> Place {
        self.0.first().copied().unwrap_or(Place::Cpu)
    }

    /// One per stage, of `stages` where that is given.
    ///
    /// # Errors
    /// Another number of stages than of devices.
    fn of(&self, stages: Option<usize>) -> Result<Vec<Place>> {
        match (self.0.as_slice(), stages) {
            ([one], n) => Ok(vec![*one; n.unwrap_or(1).max(1)]),
            (all, None) => Ok(all.to_vec()),
            (all, Some(n)) if all.len() == n => Ok(all.to_vec()),
            (all, Some(n)) => {
                bail!(
                    "--stages {n} with {} devices: each stage has one; leave --stages out, or name {n}",
                    all.len()
                )
            }
        }
    }

    /// What a plan has to know of them: one per stage.
    ///
    /// # Errors
    /// As [`Places::open`].
    pub fn kinds(&self, stages: Option<usize>, threads: Option<usize>) -> Result<Vec<DeviceKind>> {
        let places = self.of(stages)?;
        Ok(shares(&places, threads)
            .into_iter()
            .zip(places)
            .map(|(threads, place)| place.kind(threads))
            .collect())
    }

    /// A device per stage, the processor's threads divided among them.
    ///
    /// # Errors
    /// What is missing; another number of stages than of devices.
    pub fn open(&self, stages: Option<usize>, threads: Option<usize>) -> Result<Vec<Device>> {
        let places = self.of(stages)?;
        shares(&places, threads).into_iter().zip(places).map(|(threads, place)| place.open(threads)).collect()
    }
}

impl Places {
    /// The device of a rank, by its number on this machine: GPUs go round, of those that are named or, where one is, of all from
    /// there on.
    ///
    /// # Errors
    /// What is missing.
    pub fn open_rank(&self, rank: usize, threads: usize) -> Result<Device> {
        let visible = || mlaan_engine::cuda::devices::find().gpus.map_or(0, |gpus| gpus.len());
        let place = match self.0.as_slice() {
            [Place::Cuda(first)] => Place::Cuda(first + rank % visible().saturating_sub(*first).max(1)),
            all => all.get(rank % all.len().max(1)).copied().unwrap_or(Place::Cpu),
        };
        place.open(Some(threads))
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Threads of each stage: all for one; else as even as can be, at least one each. A GPU takes them to load images with, which
/// the first stage's device does.
fn shares(places: &[Place], threads: Option<usize>) -> Vec<Option<usize>> {
    let n = places.len();
    if n == 1 || places.first() != Some(&Place::Cpu) {
        return vec![threads; n];
    }
    let all = threads.unwrap_or_else(cores);
    (0..n).map(|k| Some((all / n + usize::from(k < all % n)).max(1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_per_stage() {
        let places = |text| Places::parse(text).unwrap();
        assert_eq!(places("cuda:0,cuda:1"), Places(vec![Place::Cuda(0), Place::Cuda(1)]));
        assert_eq!(places("cuda:0,cuda:1").of(None).unwrap().len(), 2);
        assert_eq!(places("cuda:1").of(Some(2)).unwrap(), [Place::Cuda(1); 2]);
        assert_eq!(places("cpu").of(None).unwrap(), [Place::Cpu]);
        let err = places("cuda:0,cuda:1").of(Some(3)).unwrap_err().to_string();
        assert!(err.contains("--stages 3 with 2 devices"), "{err}");
        assert!(Places::parse("cpu,cuda").unwrap_err().contains("not on both"));
        assert!(Places::parse("cuda:0,").unwrap_err().contains("cuda:N"));
    }

    #[test]
    fn threads_are_divided() {
        assert_eq!(shares(&[Place::Cpu; 3], Some(8)), [Some(3), Some(3), Some(2)]);
        assert_eq!(shares(&[Place::Cpu; 3], Some(2)), [Some(1); 3]);
        assert_eq!(shares(&[Place::Cpu], None), [None]);
        assert_eq!(shares(&[Place::Cuda(0), Place::Cuda(1)], Some(6)), [Some(6); 2]);
    }
}
