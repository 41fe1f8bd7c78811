//! What the system lets this process use, so that a run that cannot fit is refused before it begins.
//!
//! Known on Linux: `ulimit -v`, the memory limit of the control group (version 2 or 1) and the machine's memory are hard
//! limits; what the machine has left at the moment is only worth a warning, as the system may free more. Elsewhere no
//! limit is known. On a device with memory of its own, what is free there is a hard limit of what lies there; the system's
//! hold for the rest, the images.

use super::Plan;
use super::bytes::written;
use crate::{Error, Result};
use mlaan_engine::{Device, Purpose};
use std::path::{Path, PathBuf};

/// Address space that a run takes beside its plan: stacks of threads and buffers of files.
const BESIDE: usize = 32 << 20;

/// A device's own memory that a run takes beside its plan: code of kernels, and what the driver keeps for them.
const BESIDE_ON_DEVICE: usize = 64 << 20;

/// A hard limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What limits, for people.
    pub what: String,
    /// Bytes that it allows.
    pub bytes: usize,
    /// Bytes of them that are in use already: by this process, of a control group by all its processes.
    pub used: usize,
    /// Bytes that a run needs beside its plan under this limit.
    pub beside: usize,
}

/// All that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Hard limits.
    pub hard: Vec<Limit>,
    /// Bytes that the machine could give now.
    pub available: Option<usize>,
    /// What is free of the device's own memory, where it has some.
    pub device: Option<Limit>,
}

impl Limit {
    /// Bytes that a run may still take.
    pub fn room(&self) -> usize {
        self.bytes.saturating_sub(self.used).saturating_sub(self.beside)
    }
}

impl Limits {
    /// The limits of a run of this process on `device`, as far as the system and the device's driver tell.
    pub fn of(device: &Device) -> Self {
        let (what, beside) = (device.name().to_owned(), BESIDE_ON_DEVICE);
        let own = device.free_memory().map(|bytes| Limit { what, bytes, used: 0, beside });
        Limits { device: own, ..Self::of_this_process() }
    }

    /// The limits of this process, as far as the system tells.
    pub fn of_this_process() -> Self {
        Self::under(Path::new("/"))
    }

    /// As [`Limits::of_this_process`], with `/proc` and `/sys` below `root`.
    fn under(root: &Path) -> Self {
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
        let (status, machine) = (read("proc/self/status"), read("proc/meminfo"));
        let (resident, mapped) = (field(&status, "VmRSS:"), field(&status, "VmSize:"));
        let mut hard = Vec::new();
        let mut add = |what: &str, bytes: Option<usize>, used: Option<usize>, beside| {
            if let Some(bytes) = bytes {
                hard.push(Limit { what: what.into(), bytes, used: used.unwrap_or(0), beside });
            }
        };
        add("the address space (`ulimit -v`)", address_space(&read("proc/self/limits")), mapped, BESIDE);
        let (group, all) = group(root, &read("proc/self/cgroup")).unzip();
        add("the control group", group, resident.max(all), 0);
        add("the machine's memory", field(&machine, "MemTotal:"), resident, 0);
        Limits { hard, available: field(&machine, "MemAvailable:"), device: None }
    }

    /// Whether a planned run fits whose images take `resident` bytes already; a warning where it fits only if the
    /// system frees memory.
    ///
    /// # Errors
    /// [`Error::Memory`] with both numbers and what to do.
    pub fn check(&self, plan: &Plan, resident: usize) -> Result<Option<String>> {
        // A checkpoint is a copy of all parameters and momentum.
        let copied = [Purpose::Parameters, Purpose::Optimiser];
        let copies = copied.iter().filter_map(|&p| plan.usage.peak_by_purpose.get(p as usize)).sum();
        let Some(device) = &self.device else {
            return self.check_bytes(plan.footprint(), copies, resident);
        };
        let images = plan.footprint().saturating_sub(plan.usage.held);
        check_device(device, plan.usage.held, images)?;
        self.check_bytes(images, copies, resident)
    }

    fn check_bytes(&self, planned: usize, copies: usize, resident: usize) -> Result<Option<String>> {
        let say = |n: usize| written(n as u64);
        let allows = |l: &Limit| l.room().saturating_add(resident).saturating_sub(copies);
        let tightest = self.hard.iter().min_by_key(|l| l.room());
        if let Some(limit) = tightest.filter(|l| planned > allows(l)) {
            let choice = match allows(limit) >> 20 {
                0 => String::new(),
                room => format!("start it with `--memory {room}MiB` to let settings be chosen that fit, "),
            };
            let message = format!(
                "this run needs {} of memory, and this process has room for {}: {} allows {}, of which {} are in use and \
                 {} are for threads, files and checkpoints. Raise the limit, {choice}take `--recompute module`, or start it \
                 with a smaller `--batch`",
                say(planned),
                say(allows(limit)),
                limit.what,
                say(limit.bytes),
                say(limit.used),
                say(limit.beside + copies),
            );
            return Err(Error::Memory { needed: planned, allowed: allows(limit), message });
        }
        let missing = planned.saturating_sub(resident);
        let short = self.available.filter(|&a| missing > a);
        Ok(short.map(|a| {
            format!(
                "this run needs {} more memory, and the machine has {} free at the moment: it may become slow or be \
                 stopped by the system",
                say(missing),
                say(a)
            )
        }))
    }
}

/// Whether `planned` bytes fit into a device's own memory; `images` bytes of the plan lie elsewhere.
fn check_device(device: &Limit, planned: usize, images: usize) -> Result<()> {
    let (room, say) = (device.room(), |n: usize| written(n as u64));
    if planned <= room {
        return Ok(());
    }
    let choice = match (room >> 20, (room.saturating_add(images)) >> 20) {
        (0, _) => String::new(),
        (_, allowed) => format!("start it with `--memory {allowed}MiB` to let settings be chosen that fit, "),
    };
    let message = format!(
        "this run needs {} of memory on {}, which has room for {}: {} are free, of which {} are for kernels. End what          else uses it, {choice}take `--recompute module`, or start it with a smaller `--batch`",
        say(planned),
        device.what,
        say(room),
        say(device.bytes),
        say(device.beside),
    );
    Err(Error::Memory { needed: planned, allowed: room, message })
}

/// A line of `/proc` in kB.
fn field(text: &str, name: &str) -> Option<usize> {
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<usize>().ok().map(|kib| kib.saturating_mul(1024))
}

/// The soft limit of the address space; none when it is unlimited.
fn address_space(limits: &str) -> Option<usize> {
    limits.lines().find_map(|l| l.strip_prefix("Max address space"))?.split_whitespace().next()?.parse().ok()
}

/// Names of a control group's limit, of its use, and of the part of its use that the system can take back.
type Files = (&'static str, &'static str, &'static str);
const VERSION_2: Files = ("memory.max", "memory.current", "inactive_file");
const VERSION_1: Files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file");

/// The limit and use of the control group that leaves the least, among this process's and those that it is in.
fn group(root: &Path, groups: &str) -> Option<(usize, usize)> {
    let limits = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next(), parts.next().unwrap_or(""), parts.next().unwrap_or("/"));
        let (mount, files) = match controllers {
            "" => ("sys/fs/cgroup", VERSION_2),
            c if c.split(',').any(|c| c == "memory") => ("sys/fs/cgroup/memory", VERSION_1),
            _ => return Vec::new(),
        };
        let (mount, inner) = (root.join(mount), PathBuf::from(path.trim_start_matches('/')));
        // Inside a container the path may be the host's: the mount itself is the group then.
        inner.ancestors().filter_map(|p| limit_and_use(&mount.join(p), files)).collect()
    });
    limits.min_by_key(|(limit, used)| limit.saturating_sub(*used))
}

fn limit_and_use(folder: &Path, (limit, used, idle): Files) -> Option<(usize, usize)> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let number = |name: &str| read(name)?.trim().parse::<usize>().ok();
    // Version 1 writes "unlimited" as a number near 2^63.
    let limit = number(limit).filter(|&n| n < 1 << 60)?;
    let cached = read("memory.stat").and_then(|text| {
        let mut fields = text.lines().filter_map(|l| l.split_once(' '));
        fields.find(|(name, _)| *name == idle)?.1.trim().parse::<usize>().ok()
    });
    Some((limit, number(used).unwrap_or(0).saturating_sub(cached.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(files: &[(&str, &str)]) -> (tempfile::TempDir, Limits) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let limits = Limits::under(root.path());
        (root, limits)
    }

    const STATUS: (&str, &str) = ("proc/self/status", "Name: x\nVmSize:\t  300 kB\nVmRSS:\t  100 kB\n");

    #[test]
    fn limits_are_read_from_the_system() {
        let (_root, limits) = system(&[
            STATUS,
            ("proc/meminfo", "MemTotal:  8000 kB\nMemAvailable:  2000 kB\n"),
            ("proc/self/limits", "Limit Soft Hard Units\nMax address space  4096000  unlimited  bytes\n"),
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/memory.max", "5000000\n"),
            ("sys/fs/cgroup/a/memory.current", "900000\n"),
            ("sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 100000\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
        ]);
        let found: Vec<_> = limits.hard.iter().map(|l| (l.bytes, l.used)).collect();
        assert_eq!(found, [(4_096_000, 307_200), (5_000_000, 800_000), (8_192_000, 102_400)]);
        assert_eq!(limits.available, Some(2_048_000));
    }

    #[test]
    fn version_1_groups_and_unlimited_ones() {
        let v1 = ("proc/self/cgroup", "5:cpu:/x\n4:memory,hugetlb:/y\n");
        let (_root, limits) =
            system(&[STATUS, v1, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "7000000")]);
        assert_eq!(limits.hard.len(), 1);
        assert_eq!(limits.hard[0].bytes, 7_000_000);
        let endless = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
        assert_eq!(system(&[STATUS, v1, endless]).1.hard, []);
        assert_eq!(system(&[]).1, Limits::default());
    }

    #[test]
    fn a_device_with_memory_of_its_own_is_a_limit_of_its_own() {
        let free = |bytes| Limit { what: "cuda:1".into(), bytes, used: 0, beside: 64 << 20 };
        assert!(check_device(&free(1 << 30), 960 << 20, 5 << 30).is_ok(), "images lie elsewhere");
        let err = check_device(&free(1 << 30), 961 << 20, 100 << 20).unwrap_err().to_string();
        let words = ["961 MiB", "on cuda:1", "room for 960 MiB", "1.00 GiB are free", "--memory 1060MiB"];
        assert!(words.iter().all(|w| err.contains(w)), "{err}");
        let err = check_device(&free(1 << 20), 1 << 20, 1 << 30).unwrap_err().to_string();
        assert!(!err.contains("--memory"), "no settings would fit: {err}");
    }

    #[test]
    fn what_cannot_fit_is_refused_with_both_numbers() {
        let hard = vec![Limit { what: "the control group".into(), bytes: 2 << 30, used: 1 << 30, beside: 0 }];
        let limits = Limits { hard, available: Some(512 << 20), device: None };
        assert_eq!(limits.check_bytes(512 << 20, 0, 0).unwrap(), None);
        assert!(limits.check_bytes(1 << 30, 0, 0).unwrap().unwrap().contains("512 MiB free"));
        // Images that are there already are in use and need no more.
        assert_eq!(limits.check_bytes(3 << 29, 0, 1 << 30).unwrap(), None);
        assert!(limits.check_bytes(1 << 30, 1, 0).is_err(), "checkpoints need memory too");
        let err = limits.check_bytes(3 << 30, 0, 0).unwrap_err().to_string();
        let words =
            ["3.00 GiB", "room for 1.00 GiB", "the control group allows 2.00 GiB", "--memory 1024MiB"];
        assert!(words.iter().all(|w| err.contains(w)), "{err}");
    }
}
