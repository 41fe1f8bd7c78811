//! Jobs that mpirun starts. Where there is none, each test says that it was skipped.

use crate::common::{epochs, model, ok, tensors, text, train};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What differs between one process and several.
const MEASURED: &[&str] = &["peak_allocated_bytes"];

/// A job, of which nothing outlives the test.
struct Job(Child);

impl Drop for Job {
    fn drop(&mut self) {
        for pid in self.ranks() {
            signal("KILL", pid);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status();
}

/// mpirun, or nothing where there is none, which is said.
fn mpirun() -> Option<Command> {
    match Command::new("mpirun").arg("--version").output() {
        Ok(out) if out.status.success() => {
            let mut command = Command::new("mpirun");
            command.args([
                "--allow-run-as-root",
                "--oversubscribe",
                "--mca",
                "btl_vader_single_copy_mechanism",
                "none",
                // Where MPI itself waits, at the beginning and the end, others compute.
                "--mca",
                "mpi_yield_when_idle",
                "1",
            ]);
            Some(command)
        }
        _ => {
            eprintln!("SKIPPED: there is no mpirun");
            None
        }
    }
}

fn start(at: &Path, ranks: usize, args: &[&str]) -> Option<Job> {
    let mut command = mpirun()?;
    command.args(["-n", &ranks.to_string(), env!("CARGO_BIN_EXE_mlaan")]).args(args);
    Some(spawn(at, command))
}

fn spawn(at: &Path, mut command: Command) -> Job {
    let [out, err] = ["out", "err"].map(|name| fs::File::create(at.join(name)).unwrap());
    Job(command.current_dir(at).stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap())
}

impl Job {
    /// The processes of its ranks.
    fn ranks(&self) -> Vec<u32> {
        let id = self.0.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// How it ended, which it must within so many seconds; and that no process is left.
    fn ends_within(&mut self, seconds: u64) -> (ExitStatus, Duration) {
        let (ranks, begin) = (self.ranks(), Instant::now());
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                let taken = begin.elapsed();
                // mpirun does not wait for those that it killed.
                let until = Instant::now() + Duration::from_secs(3);
                while let Some(pid) = ranks.iter().find(|pid| is_alive(**pid)) {
                    assert!(Instant::now() < until, "process {pid} survived: {}", said_of(pid));
                    sleep(Duration::from_millis(20));
                }
                return (status, taken);
            }
            assert!(begin.elapsed() < Duration::from_secs(seconds), "it does not end");
            sleep(Duration::from_millis(20));
        }
    }
}

/// Whether a process runs: where nobody asks how a child ended, it stays as a zombie.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn said_of(pid: &u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
}

fn said(at: &Path) -> String {
    let both = ["out", "err"].map(|name| text(&fs::read(at.join(name)).unwrap()));
    both.concat()
}

/// Waits until a run has lines of epochs, at least so many.
fn trained(at: &Path, lines: usize) {
    let begin = Instant::now();
    while epochs_so_far(at) < lines {
        assert!(begin.elapsed() < Duration::from_secs(120), "nothing is trained: {}", said(at));
        sleep(Duration::from_millis(10));
    }
}

/// `train` over more steps than the other tests have, in the folder `run`.
fn long<'a>(epochs: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = train(&[&["--out", "run", "--quiet"], more].concat());
    for (name, value) in [("--limit", "300"), ("--epochs", epochs)] {
        let at = args.iter().position(|a| *a == name).unwrap();
        args[at + 1] = value;
    }
    args
}

#[test]
fn ranks_write_what_one_process_writes() {
    let at = tempfile::tempdir().unwrap();
    let lag: &[&str] = &["--set", "local.leap.lag=1"];
    ok(at.path(), &train(&[&["--out", "one", "--quiet"], lag].concat()));
    for (ranks, divided) in [(2, "time"), (4, "1,1,1,1")] {
        let name = format!("run{ranks}");
        let args = train(&[&["--out", &name, "--plain", "--rank-modules", divided], lag].concat());
        let Some(mut job) = start(at.path(), ranks, &args) else { return };
        assert!(job.ends_within(120).0.success(), "{}", said(at.path()));
        let shown = said(at.path());
        assert_eq!(shown.matches("test accuracy").count(), 1, "rank 0 alone speaks: {shown}");
        assert!(shown.contains(&format!("{ranks} ranks of ")), "{shown}");
        let row = |line: &str| line.matches(" %").count() == 2 && line.matches("iB").count() == 2;
        assert!(shown.contains("waiting") && shown.lines().filter(|l| row(l)).count() >= ranks, "{shown}");
        for rank in 1..ranks {
            let log = fs::read_to_string(at.path().join(&name).join(format!("log.rank-{rank}.txt"))).unwrap();
            let own = log.contains(&format!("module {rank} on ")) || log.contains("modules ");
            assert!(own && log.contains("planned") && log.contains("busy "), "{log}");
        }
        assert!(!at.path().join(&name).join("log.rank-0.txt").exists());
        let [one, several] = ["one", &name].map(|run| at.path().join(run));
        assert_eq!(epochs(&one, MEASURED), epochs(&several, MEASURED));
        assert!(model(&one) == model(&several) && tensors(&one, "state") == tensors(&several, "state"));
    }
}

#[test]
fn what_went_wrong_is_told_once_and_ends_the_job() {
    let at = tempfile::tempdir().unwrap();
    let ends = |more: &[&str]| {
        let mut job = start(at.path(), 2, &train(&[&["--out", "run", "--quiet"], more].concat()))?;
        // From the start on, of which most is before anything fails.
        let (status, taken) = job.ends_within(60);
        let shown = said(at.path());
        assert!(!status.success() && shown.matches("error: ").count() == 1, "{shown}");
        assert!(taken < Duration::from_secs(20), "{taken:?}: {shown}");
        Some(shown)
    };
    let Some(shown) = ends(&["--set", "local.modules=1", "local.leap=none", "local.cascade=none"]) else {
        return;
    };
    assert!(shown.contains("2 ranks, and backpropagation"), "{shown}");
    let shown = ends(&["--set", "train.lr=1e6", "train.warmup=0"]).unwrap();
    assert!(shown.contains("error: rank ") && shown.contains("loss of module "), "{shown}");
    let shown = ends(&["--data", "nowhere"]).unwrap();
    assert!(shown.contains("nowhere"), "{shown}");
    // Two recipes in one job.
    let Some(mut command) = mpirun() else { return };
    let program = env!("CARGO_BIN_EXE_mlaan");
    command.args(["-n", "1", program]).args(train(&["--out", "odd"])).arg(":");
    command.args(["-n", "1", program]).args(train(&["--out", "odd", "--lr", "0.07"]));
    let (status, _) = spawn(at.path(), command).ends_within(60);
    let shown = said(at.path());
    assert!(!status.success() && shown.contains("rank 1 was started with another recipe"), "{shown}");
    assert!(shown.contains("train.lr is 0.07") && !at.path().join("odd").exists(), "{shown}");
}

/// Lines of epochs so far.
fn epochs_so_far(at: &Path) -> usize {
    fs::read_to_string(at.join("run/metrics.jsonl")).map_or(0, |m| m.lines().count())
}

#[test]
fn a_job_that_is_stopped_goes_on_and_a_rank_that_is_stopped_is_missed() {
    let at = tempfile::tempdir().unwrap();
    let Some(mut job) = start(at.path(), 2, &long("9000", &[])) else { return };
    trained(at.path(), 2);
    // As a laptop that sleeps, for longer than a rank may be silent.
    let ranks = job.ranks();
    ranks.iter().for_each(|pid| signal("STOP", *pid));
    sleep(Duration::from_secs(18));
    let before = epochs_so_far(at.path());
    ranks.iter().for_each(|pid| signal("CONT", *pid));
    trained(at.path(), before + 3);
    signal("STOP", ranks[1]);
    let begin = Instant::now();
    while !said(at.path()).contains("nothing has been heard of it") {
        assert!(begin.elapsed() < Duration::from_secs(30), "{}", said(at.path()));
        sleep(Duration::from_millis(100));
    }
    let (status, _) = job.ends_within(20);
    assert!(!status.success());
    assert!(said(at.path()).contains("rank 1"), "{}", said(at.path()));
}

#[test]
fn a_signal_saves_and_all_goes_on() {
    let at = tempfile::tempdir().unwrap();
    let args = long("8", &[]);
    let Some(mut job) = start(at.path(), 2, &args) else { return };
    trained(at.path(), 2);
    signal("USR1", job.0.id());
    let (status, _) = job.ends_within(30);
    assert_eq!(status.code(), Some(130), "{}", said(at.path()));
    assert!(said(at.path()).is_empty() || !said(at.path()).contains("error: "), "{}", said(at.path()));
    ok(at.path(), &[&args[..], &["--resume"]].concat());
    let whole = tempfile::tempdir().unwrap();
    ok(whole.path(), &args);
    let [found, expected] = [&at, &whole].map(|t| t.path().join("run"));
    assert!(model(&found) == model(&expected) && tensors(&found, "state") == tensors(&expected, "state"));
}

/// As a scheduler ends a job: mpirun kills its ranks a moment later. What was saved is there.
#[test]
fn a_job_that_is_ended_leaves_no_process_and_loses_nothing_that_was_saved() {
    let at = tempfile::tempdir().unwrap();
    let args = long("6", &["--set", "local.leap.lag=1"]);
    let Some(mut job) = start(at.path(), 3, &args) else { return };
    trained(at.path(), 3);
    signal("TERM", job.0.id());
    let (status, taken) = job.ends_within(30);
    assert!(status.code() == Some(1) && taken < Duration::from_secs(10), "{taken:?}: {status:?}");
    ok(at.path(), &[&args[..], &["--resume"]].concat());
    // It went on from an epoch, and did not begin again.
    let metrics = fs::read_to_string(at.path().join("run/metrics.jsonl")).unwrap();
    let resumed = metrics.lines().find(|line| line.contains("\"resume\"")).unwrap_or_default();
    assert!(!resumed.is_empty() && !resumed.contains("\"epoch\":0"), "{metrics}");
    let whole = tempfile::tempdir().unwrap();
    ok(whole.path(), &args);
    let [found, expected] = [&at, &whole].map(|t| t.path().join("run"));
    assert!(model(&found) == model(&expected) && tensors(&found, "state") == tensors(&expected, "state"));
}

/// A random rank is killed at a random moment, and the run goes on with another number of ranks: as often as MLAAN_RANK_KILLS says.
#[test]
fn a_rank_that_is_killed_ends_the_job_and_loses_nothing_that_was_saved() {
    let kills: usize = std::env::var("MLAAN_RANK_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let args = long("4", &["--set", "local.leap.lag=1"]);
    let whole = tempfile::tempdir().unwrap();
    let Some(mut job) = start(whole.path(), 2, &args) else { return };
    let begin = Instant::now();
    assert!(job.ends_within(300).0.success(), "{}", said(whole.path()));
    let long = begin.elapsed().as_millis() as u64;
    let expected = whole.path().join("run");
    let (mut random, mut killed) = (0x9e37_79b9_7f4a_7c15_u64, 0);
    let mut next = |n: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % n
    };
    let resumed = [&args[..], &["--resume"]].concat();
    while killed < kills {
        let at = tempfile::tempdir().unwrap();
        loop {
            let mut job = start(at.path(), 2 + next(2) as usize, &resumed).unwrap();
            sleep(Duration::from_millis(next(long + long / 4)));
            let ranks = job.ranks();
            let Some(&victim) = ranks.get(next(ranks.len().max(1) as u64) as usize) else {
                // It was faster.
                assert!(job.ends_within(60).0.success(), "{}", said(at.path()));
                break;
            };
            signal("KILL", victim);
            let (status, taken) = job.ends_within(60);
            assert!(taken < Duration::from_secs(10), "{taken:?}");
            if status.success() {
                break;
            }
            killed += 1;
        }
        let found = at.path().join("run");
        assert!(model(&found) == model(&expected), "after {killed} kills");
        assert!(tensors(&found, "state") == tensors(&expected, "state"), "after {killed} kills");
    }
}
