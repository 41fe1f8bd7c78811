//! Whether ranks compute alike: what may keep their results from being those of one process to the bit.

use mlaan_engine::Device;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

/// What a rank computes with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Platform {
    /// The instruction set of a processor's kernels; none of a GPU.
    isa: Option<String>,
    /// CRC-32 of the program's file; none where it cannot be read.
    program: Option<u32>,
}

impl Platform {
    /// Of this process.
    pub fn of(device: &Device) -> Self {
        let program = std::env::current_exe().and_then(File::open).and_then(checksum).ok();
        Platform { isa: device.isa().map(|isa| isa.name().to_owned()), program }
    }

    /// What is not as in rank 0, if anything is; said of several.
    fn unlike(&self, first: &Self) -> Option<String> {
        let named = |of: &Self| of.isa.clone().unwrap_or_else(|| "a GPU".into());
        if self.isa != first.isa {
            return Some(format!("compute on {}, rank 0 on {}", named(self), named(first)));
        }
        let (theirs, own) = (self.program?, first.program?);
        (theirs != own).then(|| "run another build of mlaan than rank 0".into())
    }
}

/// Warnings of ranks that do not compute as rank 0 does; each says of which.
pub(super) fn warnings(first: &Platform, others: &[(usize, Platform)]) -> Vec<String> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (rank, platform) in others {
        if let Some(what) = platform.unlike(first) {
            found.entry(what).or_default().push(rank.to_string());
        }
    }
    let told = |(what, ranks): (String, Vec<String>)| {
        format!(
            "ranks that {what}: {}. Results may differ in rounding from those of one process",
            ranks.join(", ")
        )
    };
    found.into_iter().map(told).collect()
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
    fn what_is_not_alike_is_told_once() {
        let device = Device::cpu(Some(1)).unwrap();
        let own = Platform::of(&device);
        assert!(own.program.is_some() && own.isa.is_some(), "{own:?}");
        let other = Platform { program: own.program.map(|sum| sum ^ 1), ..own.clone() };
        // What is not known is not held against it.
        let unknown = Platform { program: None, ..own.clone() };
        let gpu = Platform { isa: None, ..own.clone() };
        let all = [(1, Platform::of(&device)), (2, other.clone()), (3, gpu), (4, unknown), (5, other)];
        let told = warnings(&own, &all);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].starts_with("ranks that compute on a GPU, rank 0 on ")
                && told[0].contains(": 3. Results"),
            "{told:?}"
        );
        assert!(
            told[1].starts_with("ranks that run another build of mlaan than rank 0: 2, 5. Results may"),
            "{told:?}"
        );
    }
}
