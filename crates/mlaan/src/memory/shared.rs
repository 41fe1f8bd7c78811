//! Memory that several processes of one machine share.

use super::bytes::written;
use super::limit::{BESIDE_ON_DEVICE, Limits};
use crate::{Error, Result};
use mlaan_engine::Device;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A limit that holds for all processes of a machine, or of a control group, together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// What limits, for people.
    pub what: String,
    /// Bytes that it allows.
    pub bytes: usize,
    /// Bytes of them that others than this process have.
    pub others: usize,
}

/// A GPU's memory, of which several processes of its machine may take a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedGpu {
    /// What tells GPUs of a machine apart ([`Device::uuid`]).
    pub uuid: String,
    /// What the process calls it.
    pub name: String,
    /// Bytes that a process may take, as it found them free.
    pub room: usize,
}

/// What a process of several says of the memory that it shares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Which machine it is on: of one number, those on the same.
    pub host: usize,
    /// Bytes that it holds now.
    pub resident: usize,
    /// What limits it together with others.
    pub limits: Vec<Shared>,
    /// The GPU that it computes on, if it does on one.
    pub gpu: Option<SharedGpu>,
}

impl Share {
    /// Of this process, which computes on `device`, on the machine of this number.
    pub fn of_this_process(device: &Device, host: usize) -> Self {
        let all = Limits::of(device);
        let gpu = device.uuid().zip(all.device.as_ref()).map(|(uuid, limit)| SharedGpu {
            uuid,
            name: limit.what.clone(),
            room: limit.room(),
        });
        let limits = all.shared().map(|l| Shared {
            what: l.what.clone(),
            bytes: l.bytes,
            others: l.taken.iter().map(|(bytes, _)| bytes).sum(),
        });
        Share { host, resident: all.resident, limits: limits.collect(), gpu }
    }
}

/// A process's part of a GPU: its rank, the GPU as it sees it, and bytes.
type Part<'a> = (usize, &'a SharedGpu, usize);

/// Whether processes fit side by side on the GPUs that several of them share: each with its share and the bytes that it needs there.
///
/// # Errors
/// [`Error::Memory`] with both numbers and what to do.
pub fn check_gpus(ranks: &[(Share, usize)]) -> Result<()> {
    let mut gpus: BTreeMap<(usize, &str), Vec<Part<'_>>> = BTreeMap::new();
    for (rank, (share, bytes)) in ranks.iter().enumerate() {
        if let Some(gpu) = &share.gpu {
            gpus.entry((share.host, &gpu.uuid)).or_default().push((rank, gpu, *bytes));
        }
    }
    for here in gpus.values().filter(|here| here.len() > 1) {
        let needed: usize = here.iter().map(|(_, _, bytes)| bytes).sum();
        // Each found free what the others had not taken yet.
        let least = here.iter().map(|(_, gpu, _)| (&gpu.name, gpu.room)).min_by_key(|(_, room)| *room);
        let Some((name, room)) = least else { continue };
        // What one process's kernels take is left out of it already.
        let room = room.saturating_sub((here.len() - 1) * BESIDE_ON_DEVICE);
        if needed > room {
            let each: Vec<String> = here
                .iter()
                .map(|(rank, _, bytes)| format!("rank {rank} {}", written(*bytes as u64)))
                .collect();
            let message = format!(
                "ranks on one GPU need {} of its memory together ({}), and {name} has room for {}. Start as many ranks on a machine \
                 as it has GPUs (without --device cuda:N each takes its own), or take a smaller `--batch`",
                written(needed as u64),
                each.join(", "),
                written(room as u64),
            );
            return Err(Error::Memory { needed, allowed: room, message });
        }
    }
    Ok(())
}

/// Whether processes fit side by side: each with its share and the bytes that it needs.
///
/// # Errors
/// [`Error::Memory`] with both numbers and what to do.
pub fn check(ranks: &[(Share, usize)]) -> Result<()> {
    let mut hosts: Vec<usize> = ranks.iter().map(|(share, _)| share.host).collect();
    hosts.sort_unstable();
    hosts.dedup();
    for host in hosts {
        let here: Vec<(usize, &(Share, usize))> =
            ranks.iter().enumerate().filter(|(_, (share, _))| share.host == host).collect();
        for limit in here.iter().flat_map(|(_, (share, _))| &share.limits) {
            // Those under the same limit; of what is in use, what they have themselves is theirs.
            let under: Vec<_> = here
                .iter()
                .filter(|(_, (share, _))| {
                    share.limits.iter().any(|l| (&l.what, l.bytes) == (&limit.what, limit.bytes))
                })
                .collect();
            let resident: usize = under.iter().map(|(_, (share, _))| share.resident).sum();
            let used = |(_, (share, _)): &&&(usize, &(Share, usize))| {
                let found = share.limits.iter().find(|l| l.what == limit.what);
                found.map_or(0, |l| if l.others > 0 { l.others + share.resident } else { 0 })
            };
            let used = under.iter().map(|rank| used(&rank)).max().unwrap_or(0);
            let room = limit.bytes.saturating_sub(used.saturating_sub(resident));
            let needed: usize = under.iter().map(|(_, (_, bytes))| bytes).sum();
            if under.len() > 1 && needed > room {
                let each: Vec<String> = under
                    .iter()
                    .map(|(rank, (_, bytes))| format!("rank {rank} {}", written(*bytes as u64)))
                    .collect();
                let message = format!(
                    "ranks of one machine need {} of memory together ({}), and there is room for {}: {} allows {}. Start fewer \
                     ranks on it, or with a smaller `--batch`",
                    written(needed as u64),
                    each.join(", "),
                    written(room as u64),
                    limit.what,
                    written(limit.bytes as u64),
                );
                return Err(Error::Memory { needed, allowed: room, message });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(host: usize, resident: usize, limits: &[(&str, usize, usize)]) -> Share {
        let limits = limits.iter().map(|&(what, bytes, others)| Shared { what: what.into(), bytes, others });
        Share { host, resident, limits: limits.collect(), gpu: None }
    }

    #[test]
    fn ranks_on_one_gpu_need_its_memory_together() {
        let on = |host: usize, uuid: &str, room: usize| {
            let gpu = SharedGpu { uuid: uuid.into(), name: "cuda:0".into(), room };
            Share { gpu: Some(gpu), ..rank(host, 0, &[]) }
        };
        let gib = 1 << 30;
        let e = check_gpus(&[(on(0, "a", 10 * gib), 6 * gib), (on(0, "a", 9 * gib), 4 * gib)]).unwrap_err();
        let Error::Memory { needed, allowed, message } = e else { panic!("{e}") };
        assert_eq!((needed, allowed), (10 * gib, 9 * gib - BESIDE_ON_DEVICE));
        assert!(message.contains("rank 0 6.00 GiB, rank 1 4.00 GiB") && !message.contains("  "), "{message}");
        let fits = |a: Share, b: Share, bytes: usize| check_gpus(&[(a, bytes), (b, bytes)]).is_ok();
        let both = 10 * gib + BESIDE_ON_DEVICE;
        assert!(fits(on(0, "a", both), on(0, "a", both), 5 * gib));
        assert!(!fits(on(0, "a", both - 1), on(0, "a", both), 5 * gib));
        // Each a GPU of its own, of one machine or two.
        assert!(fits(on(0, "a", 10 * gib), on(0, "b", 10 * gib), 9 * gib));
        assert!(fits(on(0, "a", 10 * gib), on(1, "a", 10 * gib), 9 * gib));
        assert!(fits(rank(0, 0, &[]), rank(0, 0, &[]), 9 * gib), "no GPU");
    }

    #[test]
    fn ranks_of_a_machine_need_their_memory_together() {
        let mib = 1 << 20;
        let machine = |host| rank(host, 10 * mib, &[("the machine's memory", 1000 * mib, 0)]);
        let all = |hosts: [usize; 3], needs: usize| check(&hosts.map(|host| (machine(host), needs)));
        assert!(all([0, 0, 0], 333 * mib).is_ok());
        let e = all([0, 0, 0], 334 * mib).unwrap_err();
        let Error::Memory { needed, allowed, message } = e else { panic!("{e}") };
        assert_eq!((needed, allowed), (1002 * mib, 1000 * mib));
        assert!(message.contains("rank 0 334 MiB, rank 1 334 MiB, rank 2 334 MiB"), "{message}");
        // On machines of their own each has its own; a rank that is alone looks for itself.
        assert!(all([0, 0, 2], 500 * mib).is_ok() && all([0, 0, 2], 501 * mib).is_err());
        assert!(all([0, 1, 2], 2000 * mib).is_ok());
    }

    #[test]
    fn what_ranks_hold_already_is_theirs_and_what_others_hold_is_not() {
        // A group of 100, of which these two have 10 each, and others 30.
        let group = || rank(0, 10, &[("the control group", 100, 40)]);
        assert!(check(&[(group(), 35), (group(), 35)]).is_ok());
        assert!(check(&[(group(), 35), (group(), 36)]).is_err());
        // Groups of their own do not add up.
        let other = rank(0, 10, &[("the control group", 90, 0)]);
        assert!(check(&[(group(), 60), (other, 80)]).is_ok());
    }

    #[test]
    fn what_limits_this_process_with_others_is_known() {
        let share = Share::of_this_process(&Device::cpu(Some(1)).unwrap(), 3);
        assert!(share.gpu.is_none());
        assert_eq!(share.host, 3);
        if cfg!(target_os = "linux") {
            assert!(share.resident > 0 && share.limits.iter().any(|l| l.what == "the machine's memory"));
            assert!(share.limits.iter().all(|l| !l.what.contains("ulimit")));
        }
    }
}
