//! The memory of this process, as the system counts it. Known on Linux; elsewhere nothing is said.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What `/proc/self/status` says, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Resident now (`VmRSS`): memory that the process really holds.
    pub resident: u64,
    /// The most that was ever resident (`VmHWM`), kept by the kernel.
    pub peak: u64,
    /// Address space in use (`VmSize`): with what is mapped but was never touched, as stacks of threads.
    pub mapped: u64,
}

impl Status {
    /// Asks the system.
    pub fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/status").ok()?)
    }

    /// The same from the file's text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = |name: &str| -> Option<u64> {
            let line = text.lines().find_map(|l| l.strip_prefix(name))?;
            let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            kibibytes.checked_mul(1024)
        };
        let resident = bytes("VmRSS:")?;
        Some(Status {
            resident,
            peak: bytes("VmHWM:").unwrap_or(resident),
            mapped: bytes("VmSize:").unwrap_or(0),
        })
    }
}

/// What this process has done so far, as the system counts it: hundredths of a second of the processor, and bytes that it has
/// read and written.
pub(crate) fn activity() -> Option<[u64; 2]> {
    let read = |file| fs::read_to_string(file).ok();
    parse_activity(&read("/proc/self/stat")?, &read("/proc/self/io").unwrap_or_default())
}

/// The same from the files' texts.
fn parse_activity(stat: &str, io: &str) -> Option<[u64; 2]> {
    // The name of the program, in brackets, may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |text: Option<&&str>| text.and_then(|t| t.parse::<u64>().ok());
    let bytes = io.lines().filter_map(|line| {
        let bytes = line.strip_prefix("rchar:").or_else(|| line.strip_prefix("wchar:"))?;
        bytes.trim().parse::<u64>().ok()
    });
    Some([number(fields.get(11))? + number(fields.get(12))?, bytes.sum()])
}

/// Lets the kernel's mark count from now on; whether the system does so.
pub(crate) fn reset_mark() -> bool {
    // Linux: 5 resets the high-water mark (proc_pid_clear_refs(5)); not every system lets a process do it.
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// How often [`Peak::sample`] asks the system, at the most: asking takes about 20 µs.
const PAUSE: Duration = Duration::from_millis(100);

/// The peak memory of the process while something runs in it.
///
/// The kernel's own mark is exact, but does not fall by itself: of a run that follows a larger one in the same process it
/// would say nothing, so it is reset for every later one. Where the system refuses that, the largest of the values seen by
/// [`Peak::sample`] counts; memory of tensors stays resident between steps, so little is missed.
#[derive(Clone, Debug)]
pub struct Peak {
    before: Option<u64>,
    seen: u64,
    last: Option<Instant>,
}

impl Peak {
    /// From now on; the first one of a process counts from its start, with all that was loaded for what it measures.
    pub fn begin() -> Self {
        static BEGUN: AtomicBool = AtomicBool::new(false);
        let again = BEGUN.swap(true, Ordering::Relaxed);
        if again {
            // What an earlier run freed is not this one's.
            mlaan_engine::give_back_freed();
        }
        let reset = again && reset_mark();
        let status = Status::read();
        Peak {
            before: status.map(|s| if again && !reset { s.peak } else { 0 }),
            seen: status.map_or(0, |s| s.resident),
            last: None,
        }
    }

    /// Bytes at the most so far; none where the system does not tell. Asks the system at most ten times a second.
    pub fn sample(&mut self) -> Option<u64> {
        if self.last.is_some_and(|at| at.elapsed() < PAUSE) {
            return self.before.map(|_| self.seen);
        }
        self.bytes()
    }

    /// As [`Peak::sample`], asking in any case.
    pub fn bytes(&mut self) -> Option<u64> {
        let (before, status) = (self.before?, Status::read()?);
        self.last = Some(Instant::now());
        let now = if status.peak > before { status.peak } else { status.resident };
        self.seen = self.seen.max(now);
        Some(self.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        let text = "Name:\tmlaan\nVmSize:\t    4096 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let found = Status::parse(text);
        assert_eq!(found, Some(Status { resident: 1 << 20, peak: 2 << 20, mapped: 4 << 20 }));
        assert_eq!(Status::parse("VmRSS:\t1024 kB\n").map(|s| s.peak), Some(1 << 20));
        assert_eq!(Status::parse("VmHWM: 1 kB\nVmRSS: x kB"), None);
    }

    #[test]
    fn what_a_process_does_is_read() {
        let stat = "12 (a b) c) S 1 2 3 4 5 6 7 8 9 10 70 30 0 0 20";
        assert_eq!(parse_activity(stat, "rchar: 100\nwchar: 23\nsyscr: 7\n"), Some([100, 123]));
        assert_eq!(parse_activity(stat, ""), Some([100, 0]));
        assert_eq!(parse_activity("12 (x) S 1", ""), None);
    }

    #[test]
    fn a_later_peak_knows_nothing_of_an_earlier_one() {
        let mut first = Peak::begin();
        let held = std::hint::black_box(vec![1u8; 256 << 20]);
        let before = first.bytes();
        drop(held);
        let mut second = Peak::begin();
        // Other tests of this process hold some memory of their own.
        if let (Some(before), Some(after)) = (before, second.bytes()) {
            assert!(before >= 256 << 20 && after < 192 << 20, "{before} {after}");
        }
    }

    #[test]
    fn memory_that_was_held_and_given_back_is_seen() {
        // Whether the first of the process or a later one, which other tests decide.
        let mut peak = Peak::begin();
        let before = peak.bytes();
        let held = std::hint::black_box(vec![1u8; 64 << 20]);
        peak.bytes();
        drop(held);
        if let (Some(before), Some(after)) = (before, peak.bytes()) {
            assert!(after >= before && after >= 64 << 20, "{before} {after}");
        }
    }
}
