//! What the system lets this process use, so that a run that cannot fit is refused before it begins.
//!
//! Known on Linux: `ulimit -v`, the memory limit of the control group (version 2 or 1) and the machine's memory are hard
//! limits; what the machine has left at the moment is only worth a warning, as the system may free more. Elsewhere no
//! limit is known. On a device with memory of its own, what is free there is a hard limit of what lies there; the system's
//! hold for the rest: images, what is kept there of tensors, and messages.

use super::Needs;
use super::bytes::written;
use crate::process::Status;
use crate::{Error, Result};
use mlaan_engine::{Device, DeviceKind, cuda};
use std::path::{Path, PathBuf};

/// Address space that a run takes beside what it holds: stacks of threads to come, and what the allocator sets aside.
const BESIDE: usize = 32 << 20;

/// A device's own memory that a run takes beside its plan: code of kernels, and what the driver keeps for them.
pub(super) const BESIDE_ON_DEVICE: usize = 64 << 20;

/// What limits address space is called.
const ADDRESS_SPACE: &str = "the address space (`ulimit -v`)";

/// A hard limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What limits, for people.
    pub what: String,
    /// Bytes that it allows.
    pub bytes: usize,
    /// Bytes of them that a run cannot have, and why.
    pub taken: Vec<(usize, String)>,
}

/// All that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Hard limits.
    pub hard: Vec<Limit>,
    /// Bytes that the machine could give now.
    pub available: Option<usize>,
    /// Bytes that this process holds now.
    pub resident: usize,
    /// What is free of the device's own memory, where it has some.
    pub device: Option<Limit>,
}

impl Limit {
    /// Bytes that a whole run may take, what this process holds already included.
    pub fn room(&self) -> usize {
        self.taken.iter().fold(self.bytes, |left, (bytes, _)| left.saturating_sub(*bytes))
    }

    /// The limit, and what is taken of it, in words.
    fn explained(&self) -> String {
        let say = |n: usize| written(n as u64);
        let taken: Vec<String> = (self.taken.iter().filter(|(n, _)| *n > 0))
            .map(|(n, why)| format!("{} {why}", say(*n)))
            .collect();
        let of_which =
            if taken.is_empty() { String::new() } else { format!(", of which {}", taken.join(" and ")) };
        format!("{} allows {}{of_which}", self.what, say(self.bytes))
    }
}

impl Limits {
    /// The limits of a run of this process on `device`, as far as the system and the device's driver tell.
    pub fn of(device: &Device) -> Self {
        let what = device.name().to_owned();
        let taken = vec![(BESIDE_ON_DEVICE, "are for kernels".to_owned())];
        let own = device.free_memory().map(|bytes| Limit { what, bytes, taken });
        Limits { device: own, ..Self::of_this_process() }
    }

    /// The limits of this process, as far as the system tells.
    pub fn of_this_process() -> Self {
        Self::under(Path::new("/"))
    }

    /// Hard limits that hold for several processes together.
    pub(super) fn shared(&self) -> impl Iterator<Item = &Limit> {
        self.hard.iter().filter(|l| l.what != ADDRESS_SPACE)
    }

    /// Whether address space is limited.
    pub fn address_space(&self) -> bool {
        self.hard.iter().any(|l| l.what == ADDRESS_SPACE)
    }

    /// As [`Limits::of_this_process`], with `/proc` and `/sys` below `root`.
    fn under(root: &Path) -> Self {
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
        let status = Status::parse(&read("proc/self/status"));
        let bytes = |f: fn(Status) -> u64| usize::try_from(status.map_or(0, f)).unwrap_or(usize::MAX);
        let (resident, mapped) = (bytes(|s| s.resident), bytes(|s| s.mapped));
        let mut hard = Vec::new();
        if let Some(bytes) = address_space(&read("proc/self/limits")) {
            // Address space counts what is mapped, a run's plan what is held.
            let empty =
                "are mapped already without holding memory (the program, stacks of threads)".to_owned();
            let taken = vec![
                (mapped.saturating_sub(resident), empty),
                (BESIDE, "are for threads and files to come".into()),
            ];
            hard.push(Limit { what: ADDRESS_SPACE.into(), bytes, taken });
        }
        if let Some((bytes, used)) = group(root, &read("proc/self/cgroup")) {
            let taken = vec![(used.saturating_sub(resident), "are in use by others".to_owned())];
            hard.push(Limit { what: "the control group".into(), bytes, taken });
        }
        let machine = read("proc/meminfo");
        if let Some(bytes) = field(&machine, "MemTotal:") {
            hard.push(Limit { what: "the machine's memory".into(), bytes, taken: Vec::new() });
        }
        Limits { hard, available: field(&machine, "MemAvailable:"), resident, device: None }
    }

    /// Bytes of host memory that a whole run of this process may take; none where that is not known.
    pub fn host_room(&self) -> Option<usize> {
        self.hard.iter().map(Limit::room).min()
    }

    /// Bytes of host memory that a plan for a device of this kind may count on: this machine's where it has one. A plan for a
    /// device that is elsewhere says nothing of the host there.
    pub fn host_beside(kind: DeviceKind) -> Option<usize> {
        let is_here = !kind.has_own_memory() || cuda::devices::is_here();
        Self::of_this_process().host_room().filter(|_| is_here)
    }

    /// Whether what is planned fits; a warning where it fits only if the system frees memory.
    ///
    /// # Errors
    /// [`Error::Memory`] with both numbers and what to do.
    pub fn check(&self, needs: &Needs) -> Result<Option<String>> {
        if self.device.is_some() {
            self.check_on_device(needs)?;
            return self.check_on_host(needs);
        }
        self.check_bytes("this run", needs.memory(), &|room| {
            format!(
                "Raise the limit, {}take `--recompute module`, or start it with a smaller `--batch`",
                chosen(room)
            )
        })
    }

    /// The part of [`Limits::check`] that is a device's own memory, where it has some: of stages on several devices, each has its own.
    ///
    /// # Errors
    /// [`Error::Memory`] with both numbers and what to do.
    pub fn check_on_device(&self, needs: &Needs) -> Result<()> {
        match &self.device {
            Some(device) => check_device(device, needs.usage.held, needs.images()),
            None => Ok(()),
        }
    }

    /// The part of [`Limits::check`] that is the host's memory beside devices with memory of their own: of stages on several, that of
    /// all together.
    ///
    /// # Errors
    /// [`Error::Memory`] with both numbers and what to do.
    pub fn check_on_host(&self, needs: &Needs) -> Result<Option<String>> {
        let offloads = needs.usage.host > 0;
        let what = if offloads { "this run, with auxiliary networks in host memory," } else { "this run" };
        let sends = needs.messages > needs.images();
        self.check_bytes(what, needs.host(), &|_| match (offloads, sends) {
            (true, _) => {
                "Raise the limit, or keep auxiliary networks on the device (`local.offload=none`)".to_owned()
            }
            (false, true) => "Raise the limit, or take a smaller `--batch`: messages between ranks or stages need most of it".into(),
            (false, false) => "Raise the limit, take fewer images (`--limit`), or leave them on disk (`--set data.load=stream`)".into(),
        })
    }

    /// As [`Limits::check`], for a command whose memory nothing but its batch and the images can make smaller.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn check_use(&self, needs: &Needs) -> Result<Option<String>> {
        let advice = |_| "Raise the limit, or take a smaller `--batch` or fewer images".to_owned();
        match &self.device {
            Some(device) => {
                check_device(device, needs.usage.held, 0)?;
                self.check_bytes("this command", needs.host(), &advice)
            }
            None => self.check_bytes("this command", needs.memory(), &advice),
        }
    }

    /// Whether there is room to begin at all with `threads` threads, and for `images` bytes of images.
    ///
    /// # Errors
    /// [`Error::Memory`] with both numbers.
    pub fn check_start(&self, threads: usize, images: usize) -> Result<()> {
        let least = self.resident + images + START + 2 * threads * STACK;
        let advice = |_| {
            match images {
            0 => "Raise the limit, or take fewer `--threads`".to_owned(),
            _ => "Raise the limit, take fewer images (`--limit`), or leave them on disk (`--set data.load=stream`)".into(),
        }
        };
        let what = if images > 0 { "this command with its images" } else { "this command" };
        self.check_bytes(what, least, &advice).map(drop)
    }

    fn check_bytes(
        &self,
        what: &str,
        planned: usize,
        advice: &dyn Fn(usize) -> String,
    ) -> Result<Option<String>> {
        let say = |n: usize| written(n as u64);
        let tightest = self.hard.iter().min_by_key(|l| l.room());
        if let Some(limit) = tightest.filter(|l| planned > l.room()) {
            let message = format!(
                "{what} needs {} of memory, and this process has room for {}: {}. {}",
                say(planned),
                say(limit.room()),
                limit.explained(),
                advice(limit.room()),
            );
            return Err(Error::Memory { needed: planned, allowed: limit.room(), message });
        }
        let missing = planned.saturating_sub(self.resident);
        let short = self.available.filter(|&a| missing > a);
        Ok(short.map(|a| {
            format!(
                "{what} needs {} more memory, and the machine has {} free at the moment: it may become slow or be \
                 stopped by the system",
                say(missing),
                say(a)
            )
        }))
    }
}

/// What a command takes before anything is known of its network and images: reading recipes, planning.
const START: usize = 16 << 20;
/// Address space of a thread.
const STACK: usize = 2 << 20;

/// Advice to let settings be chosen that fit into so many bytes.
fn chosen(room: usize) -> String {
    match room >> 20 {
        0 => String::new(),
        room => {
            format!("for a new run on one device let settings be chosen that fit (`--memory {room}MiB`), ")
        }
    }
}

/// Whether `planned` bytes fit into a device's own memory; `images` bytes of the plan lie elsewhere.
fn check_device(device: &Limit, planned: usize, images: usize) -> Result<()> {
    let (room, say) = (device.room(), |n: usize| written(n as u64));
    if planned <= room {
        return Ok(());
    }
    let choice = if room >> 20 == 0 { String::new() } else { chosen(room.saturating_add(images)) };
    let kernels: usize = device.taken.iter().map(|(n, _)| n).sum();
    let message = format!(
        "this run needs {} of memory on {}, which has room for {}: {} are free, of which {} are for kernels. End what \
         else uses it, {choice}take `--recompute module`, or start it with a smaller `--batch`",
        say(planned),
        device.what,
        say(room),
        say(device.bytes),
        say(kernels),
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
    use mlaan_engine::Usage;

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
            ("proc/self/limits", "Limit Soft Hard Units\nMax address space  64000000  unlimited  bytes\n"),
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/memory.max", "5000000\n"),
            ("sys/fs/cgroup/a/memory.current", "900000\n"),
            ("sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 100000\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
        ]);
        // VmSize - VmRSS and 32 MiB; 900 kB in use, 100 kB of it cached, this process's 100 kB in it; the machine's whole.
        let rooms: Vec<_> = limits.hard.iter().map(|l| (l.bytes, l.bytes - l.room())).collect();
        let kib = 1 << 10;
        assert_eq!(
            rooms,
            [(64_000_000, 200 * kib + (32 << 20)), (5_000_000, 800_000 - 100 * kib), (8000 * kib, 0)]
        );
        assert_eq!((limits.available, limits.resident), (Some(2000 * kib), 100 * kib));
        let said = limits.hard[0].explained();
        assert!(said.contains("200 KiB are mapped already without holding memory"), "{said}");
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
        let taken = vec![(64 << 20, String::new())];
        let free = |bytes| Limit { what: "cuda:1".into(), bytes, taken: taken.clone() };
        assert!(check_device(&free(1 << 30), 960 << 20, 5 << 30).is_ok(), "images lie elsewhere");
        let err = check_device(&free(1 << 30), 961 << 20, 100 << 20).unwrap_err().to_string();
        let words = ["961 MiB", "on cuda:1", "room for 960 MiB", "1.00 GiB are free", "--memory 1060MiB"];
        assert!(words.iter().all(|w| err.contains(w)), "{err}");
        let err = check_device(&free(1 << 20), 1 << 20, 1 << 30).unwrap_err().to_string();
        assert!(!err.contains("--memory"), "no settings would fit: {err}");
    }

    #[test]
    fn what_cannot_fit_is_refused_with_both_numbers() {
        let taken = vec![(1 << 30, "are in use by others".to_owned())];
        let hard = vec![Limit { what: "the control group".into(), bytes: 2 << 30, taken }];
        let limits = Limits { hard, available: Some(512 << 20), resident: 256 << 20, device: None };
        let needs = |process| Needs { process, ..Needs::default() };
        assert_eq!(limits.check(&needs(768 << 20)).unwrap(), None);
        // What this process holds already needs no more memory.
        let warning = limits.check(&needs(1 << 30)).unwrap().unwrap();
        assert!(warning.contains("needs 768 MiB more") && warning.contains("512 MiB free"), "{warning}");
        let err = limits.check(&needs(3 << 30)).unwrap_err().to_string();
        let words = [
            "3.00 GiB",
            "room for 1.00 GiB",
            "the control group allows 2.00 GiB, of which 1.00 GiB are in use by others",
            "--memory 1024MiB",
        ];
        assert!(words.iter().all(|w| err.contains(w)), "{err}");
        let err = limits.check_use(&needs(3 << 30)).unwrap_err().to_string();
        assert!(err.contains("this command needs 3.00 GiB") && !err.contains("--memory"), "{err}");
        assert!(limits.check_start(2, 700 << 20).is_ok());
        let err = limits.check_start(2, 800 << 20).unwrap_err().to_string();
        assert!(err.contains("with its images needs 1.05 GiB") && err.contains("data.load=stream"), "{err}");
        // What a GPU's run keeps in host memory has to fit there.
        let device = Some(Limit { what: "cuda:0".into(), bytes: 8 << 30, taken: Vec::new() });
        let usage = |host| Usage { footprint: 5 << 30, held: 5 << 30, host, ..Usage::default() };
        let limits = Limits { device, ..limits };
        let check = |host| limits.check(&Needs { usage: usage(host), ..Needs::default() });
        assert_eq!(check(700 << 20).unwrap(), None);
        let err = check(3 << 30).unwrap_err().to_string();
        assert!(
            err.contains("in host memory, needs 3.00 GiB") && err.contains("local.offload=none"),
            "{err}"
        );
        let messages = Needs { messages: 3 << 30, ..Needs::default() };
        let err = limits.check(&messages).unwrap_err().to_string();
        assert!(err.contains("messages between ranks") && err.contains("--batch"), "{err}");
    }
}
