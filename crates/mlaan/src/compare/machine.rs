//! What computed a result: times are of a machine.

use crate::Device;
use serde::{Deserialize, Serialize};

/// A machine, as far as it tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// What computed, as `cpu` or `cuda:0`.
    pub device: String,
    /// The processor's model; none where the system does not say (it is asked on Linux only).
    pub processor: Option<String>,
    /// Threads of the processor.
    pub threads: usize,
    /// Instruction set of the processor's kernels; none where another device computed.
    pub isa: Option<String>,
    /// Operating system and architecture, as `linux x86_64`.
    pub system: String,
}

impl Machine {
    /// This one, computing on `device`.
    pub fn of(device: &Device) -> Self {
        Machine {
            device: device.name().into(),
            processor: processor(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            threads: device.threads(),
            isa: device.isa().map(|isa| isa.name().to_owned()),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        }
    }
}

/// The model's name in the text of `/proc/cpuinfo`.
fn processor(text: &str) -> Option<String> {
    let (_, name) = text.lines().find(|l| l.starts_with("model name"))?.split_once(':')?;
    Some(name.trim().to_owned()).filter(|n| !n.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_has_a_name() {
        let text = "processor\t: 0\nvendor_id\t: A\nmodel name\t: A Processor @ 2.0GHz\nflags\t: x\n";
        assert_eq!(processor(text).as_deref(), Some("A Processor @ 2.0GHz"));
        assert_eq!(processor("processor\t: 0\nFeatures\t: fp\n"), None);
    }
}
