//! Runs targets over mutated inputs without an instrumented build: any compiler, any machine.

use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Mutator, Target};

/// Longest time that an input may take: inputs are small.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Most memory that the process may have, where the system can hold it to that: inputs of a quarter of a MiB need little.
pub const MEMORY: u64 = 6 << 30;

/// What was run.
#[derive(Clone, Copy, Debug)]
pub struct Ran {
    /// Inputs, those of the corpus with them.
    pub inputs: u64,
    /// The longest time that one took, and its number.
    pub slowest: (Duration, u64),
}

/// An input for which a target panicked.
#[derive(Debug)]
pub struct Found {
    /// Where it is kept.
    pub kept: PathBuf,
    /// Which one it is, to make it again.
    pub what: String,
}

/// Runs a target over the inputs that `seed` gives, until the time is over or `most` have been run; an input for which it
/// panics is kept in `folder`. One that takes too long, or too much memory, ends the process; `folder` then says which it was.
///
/// # Errors
/// The first panic.
pub fn run(target: &Target, seed: u64, time: Duration, most: u64, folder: &Path) -> Result<Ran, Found> {
    hold_memory();
    let mutator = Mutator::new((target.corpus)());
    // The corpus is not counted: it may take a run to make it.
    let start = Instant::now();
    let watch = Watch::new(target, seed, folder);
    let mut ran = Ran { inputs: 0, slowest: (Duration::ZERO, 0) };
    while ran.inputs < most && start.elapsed() < time {
        let number = ran.inputs;
        let input = mutator.input(seed, number);
        let before = Instant::now();
        watch.begin(number);
        let done = catch_unwind(AssertUnwindSafe(|| (target.read)(&input)));
        watch.end();
        let took = before.elapsed();
        if done.is_err() {
            let what = watch.called(number);
            let kept = keep(folder, &format!("{}-{seed}-{number}", target.name), &input);
            return Err(Found { kept, what });
        }
        if took > ran.slowest.0 {
            ran.slowest = (took, number);
        }
        ran.inputs += 1;
    }
    Ok(ran)
}

/// Writes an input beside others that were found.
fn keep(folder: &Path, name: &str, input: &[u8]) -> PathBuf {
    let path = folder.join(name);
    let _ = fs::create_dir_all(folder).and_then(|()| fs::write(&path, input));
    path
}

/// Ends the process at an input that takes too long, and knows which one it was at when something else ends it.
struct Watch {
    name: &'static str,
    seed: u64,
    shared: std::sync::Arc<Shared>,
    at: Option<fs::File>,
}

struct Shared {
    started: Instant,
    /// Milliseconds from the start to the beginning of the input that runs, and one; 0 where none runs.
    since: AtomicU64,
    number: AtomicU64,
}

impl Watch {
    fn new(target: &Target, seed: u64, folder: &Path) -> Self {
        let shared = Shared { started: Instant::now(), since: AtomicU64::new(0), number: AtomicU64::new(0) };
        let shared = std::sync::Arc::new(shared);
        let _ = fs::create_dir_all(folder);
        let at = fs::File::create(folder.join(format!("{}.at", target.name))).ok();
        let watch = Watch { name: target.name, seed, shared, at };
        let (weak, name) = (std::sync::Arc::downgrade(&watch.shared), target.name);
        std::thread::spawn(move || {
            while let Some(shared) = weak.upgrade() {
                let since = shared.since.load(Ordering::Relaxed);
                let now = shared.started.elapsed().as_millis() as u64;
                if since > 0 && now.saturating_sub(since) > PATIENCE.as_millis() as u64 {
                    let number = shared.number.load(Ordering::Relaxed);
                    // Past what captures the output of tests.
                    let _ = writeln!(
                        std::io::stderr(),
                        "{name}, seed {seed}, input {number}: takes longer than {PATIENCE:?}"
                    );
                    std::process::abort();
                }
                drop(shared);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        watch
    }

    fn begin(&self, number: u64) {
        self.shared.number.store(number, Ordering::Relaxed);
        self.shared.since.store(self.shared.started.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
        // Read where the process ends at once, as it does without memory.
        if let Some(mut file) = self.at.as_ref() {
            use std::io::Seek;
            let _ = file.rewind().and_then(|()| writeln!(file, "{:20}", self.called(number)));
        }
    }

    fn end(&self) {
        self.shared.since.store(0, Ordering::Relaxed);
    }

    fn called(&self, number: u64) -> String {
        format!("{}, seed {}, input {number}", self.name, self.seed)
    }
}

/// Lets claims of all memory fail instead of taking it.
fn hold_memory() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::As);
        if limit.current.is_none_or(|current| current > MEMORY) {
            limit.current = Some(MEMORY);
            let _ = setrlimit(Resource::As, limit);
        }
    }
}
