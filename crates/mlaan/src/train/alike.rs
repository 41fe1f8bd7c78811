//! Whether ranks compute alike: what may keep their results from being those of one process to the bit.

use mlaan_engine::Device;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;

/// What a rank computes with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Build {
    /// The instruction set of a processor's kernels; none of a GPU.
    isa: Option<String>,
    /// CRC-32 of the program's file; none where it cannot be read.
    program: Option<u32>,
}

impl Build {
    /// Of this process.
    pub fn of(device: &Device) -> Self {
        let program = std::env::current_exe().and_then(File::open).and_then(checksum).ok();
        Build { isa: device.isa().map(|isa| isa.name().to_owned()), program }
    }

    /// What is not as in rank 0, if anything is; a warning.
    pub fn unlike(&self, rank: usize, first: &Self) -> Option<String> {
        let named = |build: &Self| build.isa.clone().unwrap_or_else(|| "a GPU".into());
        if self.isa != first.isa {
            return Some(format!(
                "rank {rank} computes on {}, rank 0 on {}: results may differ in rounding from those of one process",
                named(self),
                named(first)
            ));
        }
        let (theirs, own) = (self.program?, first.program?);
        (theirs != own).then(|| {
            format!(
                "rank {rank} runs another build of mlaan than rank 0: install the same one on every machine, or results may differ"
            )
        })
    }
}

fn checksum(mut file: File) -> std::io::Result<u32> {
    let (mut crc, mut part) = (crc32fast::Hasher::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut part)? {
            0 => return Ok(crc.finalize()),
            read => crc.update(&part[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_alike_is_told() {
        let device = Device::cpu(Some(1)).unwrap();
        let own = Build::of(&device);
        assert!(own.program.is_some() && own.isa.is_some(), "{own:?}");
        assert_eq!(own.unlike(1, &Build::of(&device)), None);
        let gpu = Build { isa: None, ..own.clone() }.unlike(2, &own).unwrap();
        assert!(gpu.starts_with("rank 2 computes on a GPU, rank 0 on "), "{gpu}");
        let other = Build { program: own.program.map(|sum| sum ^ 1), ..own.clone() }.unlike(3, &own).unwrap();
        assert!(other.starts_with("rank 3 runs another build"), "{other}");
        // What is not known is not held against it.
        assert_eq!(Build { program: None, ..own.clone() }.unlike(3, &own), None);
    }
}
