//! Logs of the other ranks, in files of their own in a run's folder: that is on the machine of rank 0 alone, so it writes them.

use crate::ranks::{Lane, World};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The name of a rank's log.
pub(super) fn file_name(rank: usize) -> String {
    format!("{PREFIX}{rank}.txt")
}

const PREFIX: &str = "log.rank-";

/// Whether a file is such a log.
pub(super) fn is_log(name: &str) -> bool {
    let rank = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(".txt"));
    rank.is_some_and(|rank| !rank.is_empty() && rank.bytes().all(|b| b.is_ascii_digit()))
}

/// Between two looks whether the run is over.
const PAUSE: Duration = Duration::from_millis(100);

/// Writes what other ranks log until it is dropped.
pub(super) struct RankLogs {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RankLogs {
    /// Into a run's folder, at the end of what is there. A run is worth more than its logs: what cannot be written is left out.
    pub fn begin(world: &Arc<World>, folder: &Path) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (world, folder, ended) = (Arc::clone(world), folder.to_path_buf(), Arc::clone(&over));
        let write = move || write(&world, &folder, &ended);
        RankLogs { over, thread: std::thread::Builder::new().name("mlaan-logs".into()).spawn(write).ok() }
    }
}

impl Drop for RankLogs {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().into_iter().for_each(|thread| drop(thread.join()));
    }
}

fn write(world: &World, folder: &Path, over: &AtomicBool) {
    let begin = Instant::now();
    let mut files: BTreeMap<usize, Option<File>> = BTreeMap::new();
    loop {
        let ends = over.load(Ordering::Relaxed);
        match world.next_of_any(Lane::Log, PAUSE) {
            Some((rank, line)) => {
                let open =
                    || OpenOptions::new().create(true).append(true).open(folder.join(file_name(rank))).ok();
                if let Some(file) = files.entry(rank).or_insert_with(open) {
                    note(file, begin, &String::from_utf8_lossy(&line));
                }
            }
            None if ends => {
                // Of the job: a rank that was killed said nothing.
                let how = world.failure().map_or_else(
                    || "ended".to_owned(),
                    |first| format!("ended: rank {}: {}", first.rank, first.cause),
                );
                let opened = files.values_mut().flatten();
                return opened.for_each(|file| note(file, begin, &how));
            }
            // What has failed is waited for no more: it would be asked again at once.
            None if world.failure().is_some() => std::thread::sleep(PAUSE),
            None => {}
        }
    }
}

fn note(file: &mut File, begin: Instant, text: &str) {
    let line = format!("{:>9.1} s  {}\n", begin.elapsed().as_secs_f64(), crate::text::line(text));
    let _ = file.write_all(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_have_logs_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let worlds = World::threads(3);
        worlds[1].log("before");
        let logs = RankLogs::begin(&worlds[0], folder.path());
        worlds[2].log("two\nlines");
        // The last words of a job that failed, too.
        worlds[1].log("error: gone");
        worlds[1].fail("gone");
        drop(logs);
        let read = |rank| std::fs::read_to_string(folder.path().join(file_name(rank))).unwrap_or_default();
        let (one, two) = (read(1), read(2));
        assert!(
            one.lines().count() == 3 && one.contains(" s  before\n") && one.contains("error: gone"),
            "{one}"
        );
        assert!(two.lines().count() == 2 && two.contains("two"), "{two}");
        assert!([&one, &two].iter().all(|log| log.ends_with(" s  ended: rank 1: gone\n")), "{one}{two}");
        assert_eq!(read(0), "");
        assert!(
            is_log("log.rank-1.txt")
                && !is_log("log.rank-.txt")
                && !is_log("log.rank-x.txt")
                && !is_log("log.txt")
        );
    }
}
