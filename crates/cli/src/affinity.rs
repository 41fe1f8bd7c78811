//! Which processors a process may use, and how many of them a rank has beside others on its machine.

/// Bytes of a [`Mask`]: 1024 processors.
pub const BYTES: usize = 128;

/// A bit for every processor; none of them where the system does not tell.
pub type Mask = [u8; BYTES];

/// That of this process, as its launcher left it.
#[cfg(feature = "mpi")]
pub fn of_this_process() -> Mask {
    parse(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
}

/// That of the launcher's process on this machine.
#[cfg(feature = "mpi")]
pub fn of_the_launcher() -> Mask {
    let status = crate::launcher::file("status").and_then(std::fs::read_to_string);
    parse(&status.unwrap_or_default())
}

/// Processors that the control group of this machine's ranks may use at a time, by the text of its `cpu.max`.
pub fn quota(text: &str) -> Option<usize> {
    let (most, period) = text.trim().split_once(' ')?;
    let (most, period): (f64, f64) = (most.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then(|| (most / period).ceil() as usize)
}

/// The same from the file's text: hexadecimal numbers of 32 bits, the highest first.
fn parse(status: &str) -> Mask {
    let mut mask = [0; BYTES];
    let listed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed:")).unwrap_or_default();
    for (i, word) in listed.trim().rsplit(',').enumerate() {
        let word = u32::from_str_radix(word, 16).unwrap_or(0).to_le_bytes();
        mask.iter_mut().skip(4 * i).zip(word).for_each(|(to, byte)| *to = byte);
    }
    mask
}

fn has(mask: &Mask, cpu: usize) -> bool {
    mask[cpu / 8] >> (cpu % 8) & 1 == 1
}

fn count(mask: &Mask) -> usize {
    mask.iter().map(|byte| byte.count_ones() as usize).sum()
}

/// How many processors ranks with these masks may use, and their launcher, where that leaves half of them or more to nobody. A quota is
/// of all.
pub fn unused(masks: &[Mask], launcher: &Mask, quota: Option<usize>) -> Option<(usize, usize)> {
    let mut any = [0; BYTES];
    masks.iter().for_each(|mask| any.iter_mut().zip(mask).for_each(|(to, byte)| *to |= byte));
    let (bound, all) = (count(&any), count(launcher).min(quota.unwrap_or(usize::MAX)));
    (bound > 0 && 2 * bound <= all).then_some((bound, all))
}

/// Threads of rank `own` on a machine whose ranks may use the processors `masks`: each shares a processor with all that may use it.
/// `cores` are those that the system lets this process have, which may be fewer where its group has a quota: that all ranks share.
pub fn threads(masks: &[Mask], own: usize, cores: usize) -> usize {
    let all = masks.len().max(1);
    let Some(mine) = masks.get(own) else { return (cores / all).max(1) };
    let allowed = (0..8 * BYTES).filter(|cpu| has(mine, *cpu));
    let sharing: Vec<usize> = allowed.map(|cpu| masks.iter().filter(|m| has(m, cpu)).count()).collect();
    // In twelfths and so on it would not add up: the rounding is for thirds of three.
    let share = sharing.iter().map(|n| 1.0 / *n as f64).sum::<f64>() + 1e-6;
    let quota =
        if cores < sharing.len() || sharing.is_empty() { cores as f64 / all as f64 } else { f64::INFINITY };
    (if sharing.is_empty() { quota } else { share.min(quota) } as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(cpus: impl IntoIterator<Item = usize>) -> Mask {
        let mut mask = [0; BYTES];
        cpus.into_iter().for_each(|cpu| mask[cpu / 8] |= 1 << (cpu % 8));
        mask
    }

    #[test]
    fn masks_are_read() {
        assert_eq!(parse("Name:\tx\nCpus_allowed:\t3\nCpus_allowed_list:\t0-1\n"), mask(0..2));
        assert_eq!(parse("Cpus_allowed:\tff,00000000,80000001\n"), mask([0, 31].into_iter().chain(64..72)));
        assert_eq!(parse(""), mask([]));
    }

    #[test]
    fn processors_that_nobody_may_use_are_counted() {
        assert_eq!(unused(&[mask([0]), mask([1])], &mask(0..64), None), Some((2, 64)));
        assert_eq!(unused(&[mask([0]), mask([1])], &mask(0..4), None), Some((2, 4)));
        // All of them, most of them, and where nothing is known.
        assert_eq!(unused(&[mask(0..8), mask(8..16)], &mask(0..16), None), None);
        assert_eq!(unused(&[mask(0..8), mask(8..14)], &mask(0..16), None), None);
        assert_eq!(unused(&[mask([]), mask([])], &mask(0..16), None), None);
        assert_eq!(unused(&[mask([0])], &mask([]), None), None);
        // A container's quota of two of many.
        assert_eq!(quota("200000 100000\n"), Some(2));
        assert_eq!((quota("max 100000"), quota("")), (None, None));
        assert_eq!(unused(&[mask([0]), mask([1])], &mask(0..64), Some(2)), None);
    }

    #[test]
    fn ranks_have_the_processors_that_they_were_given() {
        let all = |masks: &[Mask], cores: usize| -> Vec<usize> {
            (0..masks.len()).map(|own| threads(masks, own, cores)).collect()
        };
        // Bound to a core each; to a socket each; to nothing; more ranks than cores.
        assert_eq!(all(&[mask([0]), mask([1])], 1), [1, 1]);
        assert_eq!(all(&[mask(0..8), mask(8..16)], 8), [8, 8]);
        assert_eq!(all(&[mask(0..64); 4], 64), [16; 4]);
        assert_eq!(all(&[mask(0..2); 4], 2), [1; 4]);
        assert_eq!(all(&[mask(0..12); 3], 12), [4; 3]);
        // Two ranks in a set of four processors of a machine of many, as a batch system gives them.
        assert_eq!(all(&[mask(100..104); 2], 4), [2, 2]);
        // Two that share a socket, and one that has the other.
        assert_eq!(all(&[mask(0..8), mask(0..8), mask(8..16)], 8), [4, 4, 8]);
        // A container's quota of four of many processors is shared by all.
        assert_eq!(all(&[mask(0..64); 2], 4), [2, 2]);
        // Where nothing is known.
        assert_eq!(all(&[mask([]); 2], 6), [3, 3]);
        assert_eq!(threads(&[], 0, 5), 5);
    }
}
