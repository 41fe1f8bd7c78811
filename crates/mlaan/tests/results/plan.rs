//! Plans: what fits into a given memory, and cuts that balance it.

use mlaan::Error;
use mlaan::backbone::ResNet;
use mlaan::data::LoaderPool;
use mlaan::local::{Method, Offload, Recompute, Task};
use mlaan::nn::{ImageShape, Optimizer};
use mlaan::plan::search::{Candidate, Fit, Found, Learning, Request, candidates, search};
use mlaan::plan::{Plan, RanksCourse, Sizes, Speed, balanced, plan};
use mlaan::recipe::{Data, Load, Orientation, Recipe};
use mlaan::train::{Trainer, setup};
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{Device, DeviceKind, Precision};

fn task() -> Task {
    let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
    Task { image: ImageShape::square(32, 3), classes: 10, pixels }
}

fn sizes(batch: usize) -> Sizes {
    let precision = Precision::F32;
    let kind = DeviceKind::Cpu { threads: Some(2) };
    Sizes {
        batch,
        train: None,
        kept: false,
        kept_test: false,
        mixed: false,
        test: None,
        validation: None,
        data_bytes: 1000 * batch,
        loading_bytes: 0,
        precision,
        optimizer: Optimizer::default(),
        shards: 1,
        model_ema: false,
        kind,
    }
}

fn fits(method: &Method, batch: usize, memory: usize) -> mlaan::Result<Vec<Fit>> {
    let backbone = ResNet::cifar(32, 16).unwrap();
    let request =
        Request { backbone: &backbone, method, task: task(), batch, sizes: &sizes, memory, host: None };
    Ok(search(&request, &candidates(&request))?.fits)
}

fn needs(method: &Method, batch: usize) -> usize {
    stored_needs(method, batch, Precision::F32)
}

fn stored_needs(method: &Method, batch: usize, precision: Precision) -> usize {
    let sizes = Sizes { precision, ..sizes(batch) };
    plan(&ResNet::cifar(32, 16).unwrap(), method, task(), sizes).unwrap().memory()
}

#[test]
fn all_that_is_listed_fits_and_the_best_is_first() {
    let method = Recipe::load("mlaan-released-resnet32-16").unwrap().local;
    let own = needs(&method, 256);
    let found = fits(&method, 256, own).unwrap();
    for f in &found {
        assert!(f.plan.memory() <= own && f.batch <= 256, "{:?}", f.candidate);
        let needs = |batch| stored_needs(&f.candidate.method, batch, f.candidate.precision);
        assert_eq!(needs(f.batch), f.plan.memory(), "{:?}", f.candidate);
        // The next larger batch must not fit.
        if f.batch < 256 {
            assert!(needs((f.batch + 8).min(256)) > own, "{:?} {}", f.candidate, f.batch);
        }
    }
    let order = |f: &Fit| {
        let rounds = f.candidate.precision == Precision::Bf16;
        (usize::MAX - f.batch, rounds, f.plan.modules.len(), f.plan.flops)
    };
    assert!(found.windows(2).all(|w| order(&w[0]) <= order(&w[1])));
    assert!(found.iter().any(|f| f.candidate.learning == Learning::Recipe && f.time == 1.0));
    let kinds = |l: fn(Learning) -> bool| found.iter().filter(|f| l(f.candidate.learning)).count();
    assert_eq!(kinds(|l| l == Learning::Backpropagation), 4);
    assert_eq!(kinds(|l| matches!(l, Learning::Fewer(_))), 12);
}

#[test]
fn on_a_gpu_auxiliary_networks_may_be_in_host_memory() {
    let own = Recipe::load("mlaan-released-resnet32-16").unwrap().local;
    let moved = Method { offload: Offload::Auxiliary, ..own.clone() };
    let there = |batch| Sizes { kind: DeviceKind::Cuda, ..sizes(batch) };
    let backbone = ResNet::cifar(32, 16).unwrap();
    let needs = |method: &Method| plan(&backbone, method, task(), there(256)).unwrap().memory();
    let (kept, memory) = (needs(&own), needs(&moved));
    assert!(memory < kept, "{memory} and {kept}");
    let request = |method| Request {
        backbone: &backbone,
        method,
        task: task(),
        batch: 256,
        sizes: &there,
        memory,
        host: None,
    };
    let find = |host| {
        let request = Request { host, ..request(&own) };
        let mut all = candidates(&request);
        // To search all takes minutes where tests are not optimised.
        let plain = |c: &Candidate| c.learning == Learning::Recipe && c.method.recompute == Recompute::None;
        all.retain(|c| plain(c) && c.precision == Precision::F32);
        search(&request, &all).unwrap()
    };
    let Found { fits: found, host_needed } = find(None);
    assert_eq!(host_needed, None);
    assert_eq!(
        found.iter().map(|f| f.batch == 256).collect::<Vec<_>>(),
        [true, false],
        "the offloaded one fits whole"
    );
    assert_eq!(found[0].candidate.settings, ["local.offload=auxiliary"]);
    assert!(found[0].plan.host() > 0 && found[0].plan.host() == found[0].plan.moved());
    assert_eq!((found[1].plan.host(), found[1].plan.moved()), (0, 0));
    // Where the host has less room than they take there, they are left out, and what they would need is told.
    let needed = found[0].plan.needs().host();
    assert!(needed > found[0].plan.host(), "images are on the host, too");
    let has = |found: &[Fit]| found.iter().any(|f| f.candidate.settings == ["local.offload=auxiliary"]);
    assert!(has(&find(Some(needed)).fits));
    let kept = found[0].plan.host();
    let short = find(Some(kept));
    assert!(!has(&short.fits) && short.fits.iter().all(|f| f.plan.needs().host() <= kept));
    assert_eq!(short.host_needed, Some(kept + 1000), "with one image");
    // Backpropagation has nothing to move, and what a recipe keeps in host memory stays there.
    for c in candidates(&request(&moved)) {
        let alone = c.learning == Learning::Backpropagation;
        let back = c.settings.iter().any(|key| key == "local.offload=none");
        assert_eq!((c.method.offload.is_none(), back), (alone, alone), "{:?}", c.settings);
    }
    // The processor is offered none of it.
    let here = Request { sizes: &sizes, ..request(&own) };
    assert!(candidates(&here).iter().all(|c| c.method.offload.is_none()));
}

#[test]
fn offloaded_leap_chains_take_less_memory_than_backpropagation_on_large_images() {
    let recipes = [("resnet34-17", 0.75), ("resnet101-34", 0.48), ("resnet152-51", 0.37)];
    for (name, floor) in recipes.map(|(network, floor)| (format!("mlaan-released-{network}"), floor)) {
        let recipe = Recipe::load(&name).unwrap();
        let backbone = setup::network(&recipe).unwrap();
        let task = Task { image: ImageShape::square(224, 3), classes: 1000, ..task() };
        let data_bytes = LoaderPool::bytes(LoaderPool::AHEAD, 128, 224, false);
        let on_gpu = Sizes::of_steps(128, Optimizer::default(), DeviceKind::Cuda);
        let sizes = Sizes { precision: Precision::Bf16, data_bytes, ..on_gpu };
        let needs = |method: &Method| plan(&backbone, method, task, sizes).unwrap();
        let moved = needs(&Method { offload: Offload::Auxiliary, ..recipe.local.clone() });
        let (plain, own) = (needs(&Method::default()).memory(), moved.memory());
        assert!((own as f64) <= floor * plain as f64, "{name}: {own} of {plain}");
        // Between blocks little is lost.
        assert!(moved.usage.held as f64 <= 1.07 * moved.usage.peak as f64, "{name}: {:?}", moved.usage);
    }
}

#[test]
fn half_size_state_of_mirrors_takes_less() {
    let mut recipe = Recipe::load("mlaan-released-resnet32-16").unwrap();
    let there = Sizes { kind: DeviceKind::Cuda, ..sizes(64) };
    let needs = |method: &Method| plan(&ResNet::cifar(32, 16).unwrap(), method, task(), there).unwrap();
    let mut both = |state: &str| {
        recipe.set(&format!("local.leap.state={state}")).unwrap();
        let moved = Method { offload: Offload::Auxiliary, ..recipe.local.clone() };
        (needs(&recipe.local), needs(&moved).host())
    };
    let ((wide, wide_host), (narrow, narrow_host)) = (both("f32"), both("bf16"));
    assert!(narrow.memory() < wide.memory());
    // Two of eight bytes of a mirror's weight, two of four of a shadow's; vectors and heads stay.
    let part = narrow_host as f64 / wide_host as f64;
    assert!((0.7..0.78).contains(&part), "{part}");
}

#[test]
fn cheaper_chains_take_what_they_say() {
    let of = |keys: &[&str]| {
        let mut recipe = Recipe::load("lam-resnet32-16").unwrap();
        recipe.set_all(keys.iter().copied()).unwrap();
        plan(&ResNet::cifar(32, 16).unwrap(), &recipe.local, task(), sizes(16)).unwrap()
    };
    let (whole, shared) = (of(&[]), of(&["local.leap.share=stage"]));
    // Three chains instead of fifteen.
    assert!(shared.auxiliary_parameters() * 4 < whole.auxiliary_parameters());
    assert!(shared.memory() < whole.memory());
    let shares: Vec<_> = shared.modules.iter().map(|m| m.summary.shares).collect();
    assert_eq!(
        (shares[0], shares[4], shares[5], shares[6], shares[15]),
        (Some(5), Some(5), None, Some(10), None)
    );

    let every = |n: u64| of(&[&format!("local.leap.every={n}")]);
    let (second, fourth) = (every(2), every(4));
    // Of two steps one is whole; of four, one, too.
    let other = 2 * second.flops - whole.flops;
    assert!(other < whole.flops);
    assert!(fourth.flops.abs_diff((whole.flops + 3 * other) / 4) <= 2, "{} and {other}", fourth.flops);
    assert!(fourth.memory() <= whole.memory());
    for plan in [&whole, &fourth] {
        let of_modules = plan.modules.iter().map(|m| m.meter.forward + m.meter.auxiliary + m.meter.backward);
        assert!(of_modules.sum::<u64>().abs_diff(plan.flops) <= 3 * plan.modules.len() as u64);
    }

    let half = of(&["local.leap.tie=untied", "local.leap.init=random", "local.leap.width=0.5"]);
    let auxiliary = |p: &Plan| p.modules.iter().map(|m| m.meter.auxiliary).sum::<u64>();
    assert!(auxiliary(&half) * 2 < auxiliary(&whole) && half.memory() < whole.memory());
}

#[test]
fn memory_grows_with_the_batch() {
    for name in ["mlaan-released-resnet32-16", "bp-resnet32"] {
        for recompute in [Recompute::None, Recompute::Module] {
            let method = Method { recompute, ..Recipe::load(name).unwrap().local };
            let planned =
                |batch| plan(&ResNet::cifar(32, 16).unwrap(), &method, task(), sizes(batch)).unwrap();
            let plans: Vec<_> = (1..40).map(planned).collect();
            let live: Vec<_> = plans.iter().map(|plan| plan.usage.peak).collect();
            assert!(live.windows(2).all(|w| w[0] < w[1]), "{name}: {live:?}");
            // What lies unusable between blocks differs from batch to batch.
            let all: Vec<_> = plans.iter().map(|plan| plan.memory()).collect();
            assert!(all.windows(2).all(|w| w[0] <= w[1] + w[1] / 10), "{name}: {all:?}");
        }
    }
}

#[test]
fn a_host_without_room_is_named_where_nothing_fits() {
    let moved = Method { offload: Offload::Auxiliary, modules: 3, ..Method::default() };
    let there = |batch| Sizes { kind: DeviceKind::Cuda, data_bytes: 2000, ..sizes(batch) };
    let backbone = ResNet::cifar(20, 16).unwrap();
    let request = Request {
        backbone: &backbone,
        method: &moved,
        task: task(),
        batch: 4,
        sizes: &there,
        memory: usize::MAX,
        host: Some(1000),
    };
    let Err(Error::Memory { needed, allowed, message }) = search(&request, &candidates(&request)) else {
        panic!()
    };
    assert!(allowed == 1000 && needed >= 2000, "{needed}");
    let words = ["nothing fits", "every setting needs", "of the host's memory", "room for 0.98 KiB"];
    assert!(words.iter().all(|w| message.contains(w)), "{message}");
}

#[test]
fn what_nothing_fits_into_is_an_error_with_the_least_that_would_do() {
    let method = Recipe::load("mlaan-released-resnet32-16").unwrap().local;
    let Err(Error::Memory { needed, allowed, message }) = fits(&method, 256, 1000) else { panic!() };
    assert!(allowed == 1000 && needed > 1000);
    assert!(message.contains("0.98 KiB") && message.contains("train.batch=1"), "{message}");
    assert!(fits(&method, 256, needed).is_ok(), "the least named must do");
}

#[test]
fn a_run_within_its_memory_keeps_its_method() {
    let mut recipe = Recipe::load("quickstart").unwrap();
    recipe.set_all(["data.limit=600", "train.batch=256", "train.epochs=1"]).unwrap();
    let device = || Device::cpu(Some(2)).unwrap();
    let whole = Trainer::from_recipe(&recipe, &device()).unwrap().plan().memory();
    let (same, fit) = Trainer::from_recipe_fit_memory(&recipe, &device(), whole).unwrap();
    // What was chosen by itself is part of the run: where the images live, and whether they are turned.
    let (load, orientation) = (Load::Memory, Orientation::Exif);
    let kept = Recipe { data: Data { load, orientation, ..recipe.data.clone() }, ..recipe.clone() };
    assert_eq!((same.recipe(), fit.time), (&kept, 1.0));
    let (less, fit) = Trainer::from_recipe_fit_memory(&recipe, &device(), whole / 2).unwrap();
    assert!(less.plan().memory() <= whole / 2);
    assert_eq!(less.recipe().train.batch, fit.batch);
    let method = Method { recompute: Recompute::None, ..less.recipe().local.clone() };
    assert_eq!(method, recipe.local);
    assert!(Trainer::from_recipe_fit_memory(&recipe, &device(), 1 << 16).is_err());
}

#[test]
fn balanced_modules_need_less_at_the_most() {
    let net = ResNet::cifar(32, 16).unwrap();
    for modules in [2, 4, 8] {
        let even = Method { modules, ..Method::default() };
        let asked = Method { balance: true, ..even.clone() };
        let cut = balanced(&net, &asked, task(), sizes(64)).unwrap();
        assert_eq!(cut.cuts.as_ref().map(Vec::len), Some(modules - 1));
        assert_eq!(cut, balanced(&net, &asked, task(), sizes(64)).unwrap());
        let most = |m: &Method| {
            let plan = plan(&net, m, task(), sizes(64)).unwrap();
            plan.modules.iter().map(|m| m.meter.activations + m.meter.auxiliary_bytes).max().unwrap()
        };
        assert!(most(&cut) < most(&even), "{modules}: {:?}", cut.cuts);
        assert_eq!(most(&asked), most(&cut), "a plan chooses the cuts itself");
    }
    let elsewhere = Sizes { kind: DeviceKind::Cuda, ..sizes(64) };
    let asked = Method { balance: true, modules: 4, ..Method::default() };
    let here = balanced(&net, &asked, task(), sizes(64)).unwrap();
    assert_eq!(balanced(&net, &asked, task(), elsewhere).unwrap(), here, "cuts do not depend on the device");
    let too_many = Method { balance: true, modules: 40, ..Method::default() };
    let err = balanced(&net, &too_many, task(), sizes(64)).unwrap_err().to_string();
    assert!(err.contains("local.modules") && err.contains("1 to 16"), "{err}");
}

#[test]
fn a_gpus_plan_needs_no_gpu() {
    let method = Recipe::load("mlaan-released-resnet32-16").unwrap().local;
    let planned = || {
        let sizes = Sizes { kind: DeviceKind::Cuda, ..sizes(64) };
        plan(&ResNet::cifar(32, 16).unwrap(), &method, task(), sizes).unwrap()
    };
    let (one, two) = (planned(), planned());
    assert_eq!((one.usage, one.flops), (two.usage, two.flops));
    let here = plan(&ResNet::cifar(32, 16).unwrap(), &method, task(), sizes(64)).unwrap();
    assert_eq!(one.flops, here.flops, "operations are counted as they are defined");
    // Workspace aside, both keep the same.
    let kept = |p: &mlaan::plan::Plan| p.usage.peak_by_category[..2].to_vec();
    assert_eq!(kept(&one), kept(&here));
    assert!(one.memory() > here.memory() / 4, "{} {}", one.memory(), here.memory());
}

/// What the paper's two networks may take at its batch, by the accountant: the paper's own on a GPU are 2.62 and 2.76 GB.
#[test]
fn the_papers_networks_stay_small() {
    for (name, depth) in [("mlaan-released-resnet32-16", 32), ("mlaan-released-resnet110-55", 110)] {
        let method = Recipe::load(name).unwrap().local;
        let backbone = ResNet::cifar(depth, 16).unwrap();
        for (precision, most) in [(Precision::F32, 1.2e9), (Precision::Bf16, 0.65e9)] {
            let sizes = Sizes { precision, data_bytes: 0, ..sizes(1024) };
            let planned = plan(&backbone, &method, task(), sizes).unwrap().memory();
            assert!((planned as f64) < most, "{name} in {precision:?}: {planned} bytes");
        }
    }
}

#[test]
fn ranks_by_measured_seconds_are_as_even_as_modules_allow() {
    let method = Recipe::load("mlm-resnet20-10").unwrap().local;
    let (backbone, device) = (ResNet::cifar(20, 4).unwrap(), Device::cpu(Some(1)).unwrap());
    let plan = plan(&backbone, &method, task(), sizes(4)).unwrap();
    let course = |speed: &Speed<'_>| {
        RanksCourse::new((&backbone, &plan), (&method, task(), sizes(4)), speed, 3).unwrap()
    };
    let mut measured = course(&Speed::Measured(&device, 4));
    let network = (1e9, 1e-6);
    let longest = |f: &mlaan::local::Forecast| f.ranks.iter().map(|r| r.busy).fold(0.0, f64::max);
    let even = measured.forecast_by_seconds(2, network).unwrap();
    assert_eq!((even.ranks.len(), even.alone), (2, measured.forecast(2, network).alone));
    // Of all cuts the best: seconds are compared in whole nanoseconds.
    let each = (1..10).map(|cut| {
        measured.divide(vec![cut]);
        longest(&measured.forecast(2, network))
    });
    let least = each.fold(f64::INFINITY, f64::min);
    assert!((longest(&even) - least).abs() < 1e-7, "{} and {least}", longest(&even));
    assert_eq!(measured.forecast_by_seconds(3, network).unwrap().ranks.len(), 3);
    assert!(course(&Speed::Given(1e9)).forecast_by_seconds(2, (1e9, 0.0)).is_none(), "nothing was measured");
}
