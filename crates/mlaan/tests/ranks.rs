//! Runs over several ranks, which are threads here: the files of one process, whoever computes what.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::run_results::results;
use mlaan::local::LeapShare;
use mlaan::local::Task;
use mlaan::nn::ImageShape;
use mlaan::plan::{Division, plan_divided};
use mlaan::ranks::{Lane, Patience, World};
use mlaan::recipe::Recipe;
use mlaan::train::{Outcome, Progress, Trainer, follow, step_sizes};
use mlaan::{Device, Error};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::tempdir;

/// Five modules; epochs of four batches and a smaller one.
fn recipe(method: &[&str]) -> Recipe {
    let mut r = Recipe::load("quickstart").unwrap();
    let keys =
        ["model.backbone=resnet8", "model.width=4", "local.modules=4", "local.hidden=8", "train.batch=8"];
    r.set_all(keys.into_iter().chain(["data.limit=36", "data.size=16", "train.epochs=2"])).unwrap();
    r.set_all(method.iter().copied()).unwrap();
    r
}

const METHODS: [(&str, &[&str]); 10] = [
    (
        "dgl, mixtures, EMA of weights",
        &["local.leap=none", "local.cascade=none", "data.mixup=0.2", "train.model_ema_decay=0.9"],
    ),
    ("infopro", &["local.leap=none", "local.cascade=none", "local.reconstruct=[5.0, 0.5]"]),
    ("mlm, span 3, bf16", &["local.leap=none", "local.cascade.span=3", "train.precision=bf16"]),
    ("released", &[]),
    ("released, lag 3", &["local.leap.lag=3", "local.leap.ema=0.5"]),
    ("half-size state, lag 1", &["local.leap.lag=1", "local.leap.ema=0.5", "local.leap.state=bf16"]),
    ("pulled, span 3, lag 1", &["local.leap.lag=1", "local.leap.tie=pulled", "local.cascade.span=3"]),
    (
        "weighted, clipped, in shards, validated",
        &[
            "train.class_weights=[0.5, 2, 1, 1, 3, 1, 1, 1, 0.25, 1]",
            "train.clip_grad_norm=0.1",
            "train.shards=2",
            "data.validation=0.25",
        ],
    ),
    (
        "a shared chain that learns in every second step",
        &["local.leap.share=stage", "local.leap.every=2", "data.limit=148"],
    ),
    (
        "untied and narrow",
        &["local.leap.tie=untied", "local.leap.init=random", "local.leap.width=0.5", "local.cascade.span=2"],
    ),
];

fn processor() -> Device {
    Device::cpu(Some(1)).unwrap()
}

/// A run in one process.
fn alone(recipe: &Recipe, folder: &Path, stop_after: Option<usize>) -> Outcome {
    let mut trainer = Trainer::from_recipe(recipe, &processor()).unwrap();
    lead(&mut trainer, folder, stop_after).unwrap()
}

fn lead(trainer: &mut Trainer, folder: &Path, stop_after: Option<usize>) -> mlaan::Result<Outcome> {
    let (stop, mut steps) = (AtomicBool::new(false), 0);
    trainer.run(folder, true, &stop, &mut |p| {
        if let Progress::Step { .. } = p {
            steps += 1;
            stop.store(stop_after.is_some_and(|n| steps >= n), Ordering::Relaxed);
        }
    })
}

/// What each rank ended with, rank 0 first; every device is as large as planned.
fn over(ranks: usize, recipe: &Recipe, folder: &Path, stop_after: Option<usize>) -> Vec<mlaan::Result<()>> {
    over_divided((ranks, &Division::Time), recipe, folder, stop_after)
}

fn over_divided(
    (ranks, division): (usize, &Division),
    recipe: &Recipe,
    folder: &Path,
    stop_after: Option<usize>,
) -> Vec<mlaan::Result<()>> {
    let worlds = World::threads(ranks);
    // Every second one has two threads: bits do not depend on them.
    let devices: Vec<Device> = (0..ranks).map(|k| Device::cpu(Some(1 + k % 2)).unwrap()).collect();
    thread::scope(|scope| {
        let follower = |(world, device): (&Arc<World>, &Device)| {
            let (world, device) = (Arc::clone(world), device.clone());
            scope.spawn(move || {
                follow(&world, Some(recipe), &device).inspect_err(|e| world.fail(&e.to_string()))
            })
        };
        let followers: Vec<_> = worlds.iter().zip(&devices).skip(1).map(follower).collect();
        let leads = || {
            let mut trainer = Trainer::from_recipe_in_ranks(recipe, &devices[0], (&worlds[0], division))?;
            let outcome = lead(&mut trainer, folder, stop_after)?;
            if let (Outcome::Finished(_), None) = (&outcome, stop_after) {
                for (k, (device, stage)) in devices.iter().zip(&trainer.plan().stages).enumerate() {
                    let (used, planned) = (device.usage(), stage.usage);
                    assert_eq!((used.footprint, used.peak), (planned.footprint, planned.peak), "rank {k}");
                    let (waited, room) = (worlds[k].peak_bytes(), stage.messages.waiting);
                    assert!(waited <= room && 0 < waited, "rank {k}: {waited} bytes of {room}");
                }
            }
            trainer.dismiss()
        };
        let led = leads().inspect_err(|e| worlds[0].fail(&e.to_string()));
        std::iter::once(led).chain(followers.into_iter().map(|f| f.join().unwrap())).collect()
    })
}

fn fine(ended: Vec<mlaan::Result<()>>) {
    ended.into_iter().for_each(|e| e.unwrap());
}

#[test]
fn ranks_write_the_files_of_one_process() {
    for (name, method) in METHODS {
        let recipe = recipe(method);
        let one = tempdir().unwrap();
        alone(&recipe, one.path(), None);
        let expected = results(one.path());
        // Two of the four modules share a chain, and stay together.
        let shares = recipe.local.leap.as_ref().is_some_and(|leap| leap.share == LeapShare::Stage);
        for ranks in 2..=if shares { 3 } else { 4 } {
            let several = tempdir().unwrap();
            fine(over(ranks, &recipe, several.path(), None));
            let found = results(several.path());
            assert_eq!(found.0, expected.0, "{name}, {ranks} ranks");
            for (a, b) in found.1.iter().zip(&expected.1) {
                assert!(a == b, "{name}, {ranks} ranks: {} and {}", a.0, b.0);
            }
            assert_eq!(found.1.len(), expected.1.len());
        }
    }
}

#[test]
fn modules_are_divided_as_is_asked_and_nothing_else_changes() {
    let recipe = recipe(METHODS[4].1);
    let one = tempdir().unwrap();
    alone(&recipe, one.path(), None);
    let expected = results(one.path());
    for division in [Division::Memory, Division::Modules(vec![1, 3]), Division::Modules(vec![3, 1])] {
        let several = tempdir().unwrap();
        fine(over_divided((2, &division), &recipe, several.path(), None));
        assert!(results(several.path()) == expected, "{division:?}");
    }
    let most = |division: &Division| {
        let backbone = mlaan::train::setup::network(&recipe).unwrap();
        let kinds = [processor().kind(); 3];
        let sizes = step_sizes(&recipe, 64, kinds[0]);
        let pixels = mlaan::engine::ops::PixelScale { mean: [0.5; 3], std: [0.25; 3] };
        let task = Task { image: ImageShape::square(32, 3), classes: 10, pixels };
        let plan = plan_divided(&backbone, &recipe.local, task, sizes, (&kinds, division)).unwrap();
        plan.stages.iter().map(|stage| stage.needs().memory()).max().unwrap()
    };
    let by_hand = [[1, 1, 2], [1, 2, 1], [2, 1, 1]].map(|n| most(&Division::Modules(n.to_vec())));
    assert_eq!(Some(&most(&Division::Memory)), by_hand.iter().min(), "{by_hand:?}");
    let message = |given: &[usize]| {
        let ended = over_divided((2, &Division::Modules(given.to_vec())), &recipe, one.path(), None);
        ended[0].as_ref().unwrap_err().to_string()
    };
    assert!(
        message(&[1, 1, 2]).contains("--rank-modules 1,1,2 is for 3 ranks, and there are 2"),
        "{}",
        message(&[1, 1, 2])
    );
    assert!(
        message(&[2, 3]).contains("--rank-modules 2,3 adds up to 5, and the network has 4"),
        "{}",
        message(&[2, 3])
    );
    assert!(message(&[0, 4]).contains("at least one"), "{}", message(&[0, 4]));
    // A sum that no number holds.
    assert!(message(&[usize::MAX, 5]).contains("the network has 4"), "{}", message(&[usize::MAX, 5]));
}

#[test]
fn a_run_is_interrupted_and_goes_on_over_another_number_of_ranks() {
    for (_, method) in [METHODS[2], METHODS[4], METHODS[5]] {
        let mut recipe = recipe(method);
        // Losses come when a batch is through, which may be the ranks' number and one later: the epoch is longer than that.
        recipe.set_all(["data.limit=84"]).unwrap();
        let whole = tempdir().unwrap();
        alone(&recipe, whole.path(), None);
        let expected = results(whole.path());
        for [first, second] in [[2, 4], [3, 1], [1, 2]] {
            let folder = tempdir().unwrap();
            match first {
                1 => drop(alone(&recipe, folder.path(), Some(2))),
                n => fine(over(n, &recipe, folder.path(), Some(2))),
            }
            match second {
                1 => drop(alone(&recipe, folder.path(), Some(usize::MAX))),
                n => fine(over(n, &recipe, folder.path(), Some(usize::MAX))),
            }
            assert!(results(folder.path()) == expected, "{first} ranks, then {second}");
        }
    }
}

#[test]
fn a_stop_that_any_rank_is_asked_for_saves_at_one_step() {
    let mut recipe = recipe(METHODS[0].1);
    recipe.set_all(["train.epochs=500"]).unwrap();
    let worlds = World::threads(2);
    let folder = tempdir().unwrap();
    let outcome = thread::scope(|scope| {
        let follower = scope.spawn(|| follow(&worlds[1], Some(&recipe), &processor()));
        let mut trainer =
            Trainer::from_recipe_in_ranks(&recipe, &processor(), (&worlds[0], &Division::Time)).unwrap();
        worlds[1].ask_to_stop();
        let outcome = lead(&mut trainer, folder.path(), None).unwrap();
        trainer.dismiss().unwrap();
        follower.join().unwrap().unwrap();
        outcome
    });
    assert!(matches!(outcome, Outcome::Interrupted { .. }), "{outcome:?}");
    assert!(folder.path().join("checkpoints/last.json").is_file());
}

#[test]
fn what_cannot_be_divided_is_refused_with_what_to_do() {
    let message = |method: &[&str], ranks| {
        let folder = tempdir().unwrap();
        let ended = over(ranks, &recipe(method), folder.path(), None);
        let first = ended.into_iter().map(|e| e.unwrap_err().to_string()).collect::<Vec<_>>();
        // The others say the same, with the rank.
        assert!(
            first[1..].iter().all(|said| said.contains("rank 0: ") && said.contains(&first[0])),
            "{first:?}"
        );
        first[0].clone()
    };
    let bp = message(&["local.leap=none", "local.cascade=none", "local.modules=1"], 2);
    assert!(
        bp.contains("2 ranks, and backpropagation") && bp.contains("Take a method of several modules"),
        "{bp}"
    );
    let many = message(&["local.leap=none"], 6);
    assert!(many.contains("6 ranks of 4 modules") && many.contains("Start 4 ranks or fewer"), "{many}");
    let init = message(&["model.init=weights.pth"], 2);
    assert!(init.contains("model.init") && init.contains("--resume"), "{init}");
    let offload = message(&["local.offload=auxiliary"], 2);
    assert!(offload.contains("local.offload") && offload.contains("in the host's already"), "{offload}");
}

#[test]
fn a_rank_with_another_recipe_ends_the_job_before_it_begins() {
    let worlds = World::threads(3);
    let (recipe, other) = (recipe(&[]), recipe(&["train.lr=0.7", "data.limit=44"]));
    thread::scope(|scope| {
        let same = scope.spawn(|| follow(&worlds[1], Some(&recipe), &processor()));
        let odd = scope.spawn(|| follow(&worlds[2], Some(&other), &processor()));
        let e = Trainer::from_recipe_in_ranks(&recipe, &processor(), (&worlds[0], &Division::Time))
            .err()
            .unwrap()
            .to_string();
        assert!(e.contains("rank 2 was started with another recipe or other data"), "{e}");
        assert!(e.contains("train.lr is 0.7") && e.contains("data.limit is 44"), "{e}");
        worlds[0].fail(&e);
        for ended in [same, odd] {
            assert!(matches!(ended.join().unwrap(), Err(Error::Rank { rank: 0, .. })));
        }
    });
}

#[test]
fn ranks_that_compute_otherwise_are_told() {
    let all = mlaan::engine::Isa::available();
    let Some(other) = all.last().filter(|_| all.len() > 1) else {
        eprintln!("SKIPPED: this processor has one instruction set that there are kernels for");
        return;
    };
    let (worlds, recipe) = (World::threads(2), recipe(&[]));
    let device = Device::cpu_with(Some(1), *other).unwrap();
    thread::scope(|scope| {
        let follower = scope.spawn(|| follow(&worlds[1], Some(&recipe), &device));
        let mut trainer =
            Trainer::from_recipe_in_ranks(&recipe, &processor(), (&worlds[0], &Division::Time)).unwrap();
        let told = format!("ranks that compute on {}, rank 0 on {}: 1.", other.name(), all[0].name());
        assert!(trainer.warnings().iter().any(|w| w.starts_with(&told)), "{:?}", trainer.warnings());
        trainer.dismiss().unwrap();
        follower.join().unwrap().unwrap();
    });
}

#[test]
fn a_loss_that_is_not_finite_ends_all_ranks_with_its_module() {
    let recipe = recipe(&["local.leap=none", "train.lr=1e6", "train.warmup=0"]);
    // The loss of the second module is the first that is not.
    for (modules, at) in [([2, 1, 1], 0), ([1, 1, 2], 1)] {
        let (folder, division) = (tempdir().unwrap(), Division::Modules(modules.to_vec()));
        let ended = over_divided((3, &division), &recipe, folder.path(), None);
        assert!(matches!(ended[0], Err(Error::NonFinite { .. })), "{:?}", ended[0]);
        let others = &ended[1..];
        let is_told = |e: &mlaan::Result<()>| match e {
            Err(Error::Rank { rank, cause }) => *rank == at && cause.contains("loss of module 1 is "),
            _ => false,
        };
        assert!(others.iter().all(is_told), "{modules:?}: {others:?}");
    }
}

/// A run over three ranks that wait for each other's gradients, in which `spoil` does something behind the third step; what each rank
/// ended with, none where it panicked.
fn spoilt(spoil: &(dyn Fn(&World) + Sync)) -> Vec<Option<Error>> {
    let mut recipe = recipe(METHODS[2].1);
    recipe.set_all(["data.limit=400"]).unwrap();
    // What waits for a rank that is gone waits for so long.
    let patience = Patience { all: Duration::from_secs(30), ..Patience::default() };
    let (worlds, folder, begin) = (World::patient_threads(3, patience), tempdir().unwrap(), Instant::now());
    let ended = thread::scope(|scope| {
        let follower = |world: &Arc<World>| {
            let (world, recipe) = (Arc::clone(world), &recipe);
            scope.spawn(move || follow(&world, Some(recipe), &processor()))
        };
        let followers: Vec<_> = worlds[1..].iter().map(follower).collect();
        let lead = scope.spawn(|| {
            let mut trainer =
                Trainer::from_recipe_in_ranks(&recipe, &processor(), (&worlds[0], &Division::Time)).unwrap();
            let (stop, mut steps) = (AtomicBool::new(false), 0);
            let watch = &mut |p: Progress<'_>| {
                steps += usize::from(matches!(p, Progress::Step { .. }));
                if steps == 3 {
                    spoil(&worlds[0]);
                }
            };
            trainer.run(folder.path(), true, &stop, watch).map(drop)
        });
        let all = std::iter::once(lead).chain(followers);
        all.map(|t| t.join().ok().map(|ended| ended.err().unwrap())).collect()
    });
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}: {ended:?}", begin.elapsed());
    ended
}

#[test]
fn a_panic_or_an_error_between_steps_ends_all_ranks_at_once() {
    let ended = spoilt(&|_| panic!("a report that cannot be written"));
    assert!(ended[0].is_none(), "{ended:?}");
    let is_first = |e: &Option<Error>, rank: usize, text: &str| {
        let e = e.as_ref().unwrap().to_string();
        assert!(e.starts_with(&format!("rank {rank}: ")) && e.contains(text), "{e}");
    };
    ended[1..].iter().for_each(|e| is_first(e, 0, "panicked: a report that cannot be written"));
    // What another rank cannot read: its main thread ends, while its stage waits.
    let ended = spoilt(&|world| world.send(1, Lane::Command, vec![250; 16]).unwrap());
    [&ended[0], &ended[2]].into_iter().for_each(|e| is_first(e, 1, "command"));
}
