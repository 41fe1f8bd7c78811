//! Several ranks (`mpirun -n 4 mlaan train …`): who they are, and how all of them end.

use crate::args::TrainArgs;
use crate::interrupt::{EXIT, Interrupt};
#[cfg(feature = "mpi")]
use crate::{affinity, launcher};
use crate::{host, output, resume};
use anyhow::{Error, Result};
use mlaan::plan::Division;
use mlaan::ranks::World;
#[cfg(feature = "mpi")]
use mlaan::ranks::{Thread, Work};
use mlaan::recipe::Recipe;
use mlaan::train::{Trainer, follow};
use mlaan_engine::Device;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Variables by which launchers say how many ranks they started, each with one that only a started rank has.
const LAUNCHERS: [(&str, &str); 5] = [
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("PMI_SIZE", "PMI_RANK"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
    ("SLURM_STEP_NUM_TASKS", "PMIX_RANK"),
    ("SLURM_NTASKS", "PMIX_RANK"),
];

/// So long other ranks wait for rank 0 to say why no job begins.
const REFUSED: Duration = Duration::from_secs(2);

/// What a launcher says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Launch {
    variable: &'static str,
    ranks: usize,
    rank: usize,
}

impl Launch {
    fn of(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let number = |name: &str| variable(name)?.trim().parse().ok();
        LAUNCHERS.iter().find_map(|&(size, rank)| {
            Some(Launch { variable: size, rank: number(rank)?, ranks: number(size)? })
        })
    }
}

/// What tells that a scheduler started several processes that are no ranks; in the first of them.
fn unlaunched(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let number = |name: &str| -> Option<usize> { variable(name)?.trim().parse().ok() };
    let tasks = number("SLURM_STEP_NUM_TASKS").filter(|n| *n > 1)?;
    (number("SLURM_PROCID") == Some(0) && number("PMIX_RANK").is_none()).then(|| {
        format!(
            "srun started {tasks} tasks without MPI, and each trains the whole network by itself; for {tasks} ranks of one network start \
             them with srun --mpi=pmix"
        )
    })
}

/// The MPI library of this build, where it has one.
pub fn mpi() -> Option<String> {
    #[cfg(feature = "mpi")]
    return Some(mlaan_mpi::library());
    #[cfg(not(feature = "mpi"))]
    None
}

/// What to say where a launcher started several processes of a command that works in one; in the first of them.
pub fn copies(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let launch = Launch::of(variable)?;
    (launch.ranks > 1 && launch.rank == 0).then(|| {
        format!(
            "warning: a launcher started {} ranks, and only `train` divides its work among them: each does all of this; start it once",
            launch.ranks
        )
    })
}

/// What a launcher's binding leaves to nobody. Open MPI binds each of two ranks to one core, unless it is told otherwise.
#[cfg(feature = "mpi")]
fn unused(variable: &str, masks: &[affinity::Mask]) -> Option<String> {
    if variable != "OMPI_COMM_WORLD_SIZE" {
        return None;
    }
    let quota = affinity::quota(&std::fs::read_to_string("/sys/fs/cgroup/cpu.max").unwrap_or_default());
    let (bound, all) = affinity::unused(masks, &affinity::of_the_launcher(), quota)?;
    Some(format!(
        "mpirun bound the ranks of this machine to {bound} of {all} logical cores; mpirun --bind-to none lets them share all"
    ))
}

/// What ranks cannot do.
fn refuse<T>(message: String) -> Result<T> {
    Err(mlaan::Error::ranks(message).into())
}

/// Images of a program are in one process.
fn refuse_given(recipe: &Recipe) -> mlaan::Result<()> {
    if recipe.data.source != host::GIVEN {
        return Ok(());
    }
    let message = "images that a program gives lie in one process, and here several ranks share the network: start one process \
                   (without mpirun or srun), or write the images to a folder or a file and name that";
    Err(mlaan::Error::data("images", message))
}

/// A rank of a job.
pub struct Rank {
    /// Its view of the job.
    pub world: Arc<World>,
    /// Its number among those on this machine.
    local: usize,
    /// Threads that it has of this machine's.
    threads: usize,
    #[cfg(feature = "mpi")]
    job: mlaan_mpi::Job,
}

impl Rank {
    /// Joins the job that a launcher started this process in; none where it is alone.
    ///
    /// # Errors
    /// A program without MPI; a launcher that MPI does not know.
    pub fn join(quiet: bool) -> Result<Option<Self>> {
        match Launch::of(|name| std::env::var(name).ok()) {
            Some(launch) if launch.ranks > 1 => Self::launched(launch, quiet).map(Some).inspect_err(|_| {
                // What is wrong here is mostly wrong in every rank. Rank 0 says so, and its launcher ends the others.
                if launch.rank > 0 {
                    std::thread::sleep(REFUSED);
                }
            }),
            None => {
                let told = unlaunched(|name| std::env::var(name).ok());
                told.iter().filter(|_| !quiet).for_each(|told| output::note(&format!("warning: {told}")));
                Ok(None)
            }
            Some(_) => Ok(None),
        }
    }

    #[cfg(not(feature = "mpi"))]
    fn launched(Launch { variable, ranks, .. }: Launch, _quiet: bool) -> Result<Self> {
        refuse(format!(
            "a launcher started {ranks} ranks ({variable}={ranks}), and this program was built without MPI: each would train the \
             whole network by itself. Build one with it (cargo install --path crates/cli --features mpi; it needs the system's MPI \
             and libclang), or start one process"
        ))
    }

    #[cfg(feature = "mpi")]
    fn launched(Launch { variable, ranks, .. }: Launch, quiet: bool) -> Result<Self> {
        let job = mlaan_mpi::Job::join(&affinity::of_this_process())?;
        let known = job.world.ranks();
        if known != ranks {
            // What MPI has begun it must end, or its launcher takes this for a crash.
            job.leave(false);
            return refuse(format!(
                "the launcher started {ranks} ranks ({variable}={ranks}), and MPI knows of {known}: start them with the launcher of this \
                 MPI ({}), as mpirun or srun --mpi=pmix",
                mlaan_mpi::library()
            ));
        }
        let (world, local) = (Arc::clone(&job.world), job.local_rank);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = affinity::threads(&job.local, local, cores);
        if let (0, Some(warning)) = (local, unused(variable, &job.local)) {
            match world.rank() {
                0 if quiet => {}
                0 => output::note(&format!("warning: {warning}")),
                _ => world.log(&format!("warning: {warning}")),
            }
        }
        // mpirun gives its ranks a terminal, wherever it prints itself.
        if !launcher::has_terminal() && std::env::var_os("CLICOLOR_FORCE").is_none_or(|v| v == "0") {
            console::set_colors_enabled(false);
        }
        world.watch();
        // What comes next looks for recipes, folders and images.
        world.begin(Thread::Main, Work::SetUp);
        Ok(Rank { world, local, threads, job })
    }

    /// Does the work of this rank, `lead` that of rank 0, and ends with all others. What went wrong is told once.
    pub fn run(self, args: &TrainArgs, lead: impl FnOnce(&Self) -> Result<ExitCode>) -> ExitCode {
        let done = match self.world.rank() {
            0 => lead(&self),
            _ => self.follow(args).map(|()| ExitCode::SUCCESS),
        };
        match done {
            Ok(code) => {
                let status = if code == ExitCode::SUCCESS { 0 } else { EXIT };
                self.leave(true, status);
                code
            }
            Err(e) => {
                self.world.fail_at(self.world.rank(), &format!("{e:#}"));
                self.tell(&e);
                self.leave(false, 1);
                ExitCode::FAILURE
            }
        }
    }

    /// The device that it computes on.
    ///
    /// # Errors
    /// What is missing.
    pub fn open(&self, args: &TrainArgs) -> Result<Device> {
        if args.machine.stages.is_some_and(|n| n > 1) {
            return refuse(
                "--stages divides the modules over threads or GPUs of one process, and here ranks divide them: leave it out".into(),
            );
        }
        if args.memory.is_some() {
            return refuse(
                "--memory chooses settings for one process; with several ranks leave it out".into(),
            );
        }
        args.machine.open_rank(self.local, self.threads)
    }

    /// A trainer that leads the other ranks.
    ///
    /// # Errors
    /// As [`Trainer::from_recipe_in_ranks`]; images that a program gives.
    pub fn trainer(&self, recipe: &Recipe, device: &Device, division: &Division) -> Result<Trainer> {
        refuse_given(recipe)?;
        Ok(Trainer::from_recipe_in_ranks(recipe, device, (&self.world, division))?)
    }

    fn follow(&self, args: &TrainArgs) -> Result<()> {
        let device = self.open(args)?;
        // What a run goes on with, rank 0 alone knows.
        let recipe = if args.resume { None } else { Some(resume::fresh(args)?.recipe) };
        let interrupt = Interrupt::install()?;
        interrupt.begin(None);
        let (world, asked) = (Arc::downgrade(&self.world), Arc::clone(&interrupt));
        // Ends with the process.
        std::thread::spawn(move || {
            while let Some(world) = world.upgrade() {
                if asked.flag().load(Ordering::Relaxed) {
                    world.ask_to_stop();
                    return;
                }
                drop(world);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Ok(follow(&self.world, recipe.as_ref(), &device)?)
    }

    /// Says why the job ends, unless another rank has said so: rank 0, or where that is gone, the next one.
    fn tell(&self, e: &Error) {
        let rank = self.world.rank();
        let patience = Duration::from_secs(if rank == 0 { 0 } else { 2 + rank.min(8) as u64 });
        let until = Instant::now() + patience;
        while !self.world.was_told() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        if !self.world.was_told() {
            match self.world.failure() {
                Some(first) => {
                    output::error(&mlaan::Error::Rank { rank: first.rank, cause: first.cause }.into())
                }
                None => output::error(e),
            }
            self.world.tell();
        }
    }

    #[cfg(not(feature = "mpi"))]
    fn leave(self, _whole: bool, _status: u8) {}

    /// Where another rank is gone, this one must end without it.
    #[cfg(feature = "mpi")]
    fn leave(self, whole: bool, status: u8) {
        let ended = self.job.leave(whole);
        if !ended {
            std::process::exit(i32::from(status));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_a_program_are_refused_with_what_to_do() {
        let mut recipe = Recipe::load("quickstart").unwrap();
        assert!(refuse_given(&recipe).is_ok());
        recipe.data.source = host::GIVEN.into();
        let e = refuse_given(&recipe).unwrap_err();
        assert!(
            matches!(&e, mlaan::Error::Data { message, .. } if message.contains("start one process")),
            "{e}"
        );
        let e = refuse::<()>("too many".into()).unwrap_err();
        assert!(matches!(e.downcast_ref(), Some(mlaan::Error::Ranks { .. })), "{e}");
    }

    #[test]
    fn launchers_are_known_and_schedulers_alone_are_none() {
        let with = |set: &[(&str, &str)]| {
            let find = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            Launch::of(find).map(|l| (l.variable, l.ranks, l.rank))
        };
        assert_eq!(with(&[]), None);
        assert_eq!(
            with(&[("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "3")]),
            Some(("OMPI_COMM_WORLD_SIZE", 4, 3))
        );
        assert_eq!(with(&[("PMI_SIZE", "2"), ("PMI_RANK", "0")]), Some(("PMI_SIZE", 2, 0)));
        // The script of a batch job is no rank.
        assert_eq!(with(&[("SLURM_NTASKS", "8")]), None);
        assert_eq!(with(&[("SLURM_NTASKS", "8"), ("PMIX_RANK", "0")]), Some(("SLURM_NTASKS", 8, 0)));
        let step = [("SLURM_NTASKS", "8"), ("SLURM_STEP_NUM_TASKS", "2"), ("PMIX_RANK", "1")];
        assert_eq!(with(&step), Some(("SLURM_STEP_NUM_TASKS", 2, 1)));
        // Tasks of srun that are no ranks: the first of them says so.
        let told = |set: &[(&str, &str)]| {
            unlaunched(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
        };
        let task = |id| [("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_PROCID", id)];
        assert_eq!(with(&task("0")), None);
        assert!(told(&task("0")).is_some_and(|t| t.contains("4 tasks") && t.contains("srun --mpi=pmix")));
        assert_eq!(told(&task("1")), None);
        assert_eq!(told(&[task("0")[0], task("0")[1], ("PMIX_RANK", "0")]), None);
        assert_eq!(told(&[("SLURM_STEP_NUM_TASKS", "1"), ("SLURM_PROCID", "0")]), None);
        // Copies of a command that works in one process: the first of them says so.
        let copies = |set: &[(&str, &str)]| {
            copies(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
        };
        let rank = |id| [("PMI_SIZE", "3"), ("PMI_RANK", id)];
        assert!(copies(&rank("0")).is_some_and(|t| t.contains("started 3 ranks")));
        assert_eq!(
            (copies(&rank("1")), copies(&[("PMI_SIZE", "1"), ("PMI_RANK", "0")]), copies(&[])),
            (None, None, None)
        );
    }
}
