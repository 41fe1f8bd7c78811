//! How much a process grew, as the system sees it.

use std::fs;

/// Bytes that the process held when it was made.
pub(super) struct Watch {
    before: Option<Resident>,
    /// Whether the system's high-water mark counts from then on.
    reset: bool,
}

#[derive(Clone, Copy)]
struct Resident {
    now: u64,
    most: u64,
}

impl Watch {
    pub(super) fn begin() -> Self {
        // Linux: 5 resets the high-water mark (proc_pid_clear_refs(5)); not every system lets a process do it.
        let reset = fs::write("/proc/self/clear_refs", "5").is_ok();
        Watch { before: Resident::read(), reset }
    }

    /// Bytes by which it grew at the most since; none where that cannot be known.
    pub(super) fn grown(&self) -> Option<u64> {
        let (before, after) = (self.before?, Resident::read()?);
        // A mark from an earlier and larger moment says nothing.
        let known = self.reset || after.most > before.most;
        known.then(|| after.most.saturating_sub(before.now))
    }
}

impl Resident {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/status").ok()?)
    }

    fn parse(status: &str) -> Option<Self> {
        let bytes = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|l| l.strip_prefix(name))?;
            let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            kibibytes.checked_mul(1024)
        };
        Some(Resident { now: bytes("VmRSS:")?, most: bytes("VmHWM:")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        let status = "Name:\tmlaan\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let found = Resident::parse(status).map(|r| (r.now, r.most));
        assert_eq!(found, Some((1 << 20, 2 << 20)));
        assert!(Resident::parse("VmRSS:\t1024 kB\n").is_none());
        assert!(Resident::parse("VmHWM: x kB\nVmRSS: 1 kB").is_none());
    }

    #[test]
    fn growth_is_seen_where_the_system_tells() {
        let watch = Watch::begin();
        let held = std::hint::black_box(vec![1u8; 64 << 20]);
        if let Some(grown) = watch.grown() {
            assert!(grown >= 32 << 20, "{grown} of {}", held.len());
        }
    }
}
