//! Tables of experiments, run on tiny networks and the built-in images.

use crate::common::python::python;
use mlaan::compare::statistics::{Moments, Paired};
use mlaan::compare::{
    Comparison, Cost, End, Record, Run, Runner, Standing, Store, Suite, Table, Tell, builtin,
};
use mlaan::recipe::Recipe;
use mlaan::train::metrics::Epoch;
use mlaan::train::{Lock, Outcome, Progress, Trainer};
use mlaan::{Device, Result};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const TINY: &str = r#"
title = "tiny"
set = ["model.width=4", "data.limit=60", "train.epochs=2", "train.batch=30", "train.lr_batch=none", "train.lr=0.05"]
columns = [{ network = "resnet8", modules = 2 }]
rows = [
    { name = "bp", title = "BP", recipe = "bp-resnet32", paper = [50.0] },
    { name = "dgl", title = "DGL", recipe = "dgl-resnet32-16" },
]
"#;

/// A row whose loss cannot stay finite.
const BROKEN: &str = r#"rows = [
    { name = "broken", recipe = "dgl-resnet32-16", set = ["train.lr=1e6", "train.weight_decay=1e6", "train.schedule=constant", "train.warmup=0"] },"#;

fn table(text: &str) -> Table {
    Suite::parse(text, "tiny", "tiny", Path::new("")).unwrap().table(&[]).unwrap()
}

fn open() -> Result<Device> {
    Ok(Device::cpu(Some(1))?)
}

/// All that is known of a table in a folder.
struct Bench {
    table: Table,
    store: Store,
    costs: Vec<Cost>,
    runs: Vec<Run>,
}

const SEEDS: &[u64] = &[0, 1];

impl Bench {
    fn new(text: &str, folder: &Path) -> Self {
        let (table, store) = (table(text), Store::new(folder));
        let kind = open().unwrap().kind();
        let costs = table.cells.iter().map(|c| Cost::of(c, kind, None).unwrap()).collect();
        let runs = Runner::survey(&table, SEEDS, &store).unwrap();
        Bench { table, store, costs, runs }
    }

    fn run(&mut self, time: Option<Duration>, stop: &AtomicBool, tell: &mut dyn FnMut(Tell<'_>)) -> End {
        self.try_run(time, stop, tell).unwrap()
    }

    fn try_run(
        &mut self,
        time: Option<Duration>,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Tell<'_>),
    ) -> mlaan::Result<End> {
        fs::create_dir_all(self.store.folder()).unwrap();
        let held = Lock::take(self.store.folder()).unwrap();
        let (table, costs, store) = (&self.table, &self.costs, &self.store);
        let runner = Runner { table, costs, store, held: &held, open: &open, time };
        runner.run(&mut self.runs, stop, tell)
    }

    /// Runs what is left; which runs began.
    fn finish(&mut self) -> (End, Vec<usize>) {
        let mut begun = Vec::new();
        let end = self.run(None, &AtomicBool::new(false), &mut |t| {
            if let Tell::Begin { run, .. } = t {
                begun.push(run);
            }
        });
        (end, begun)
    }

    fn gather(&self) -> Comparison {
        Comparison::gather(&self.table, &self.costs, SEEDS, &self.runs, &self.store).unwrap()
    }

    fn records(&self) -> Vec<Record> {
        let done = |r: &Run| {
            if let Standing::Done(record) = &r.standing { Some(record.as_ref().clone()) } else { None }
        };
        self.runs.iter().filter_map(done).collect()
    }
}

/// Epochs without what differs from run to run.
fn learnt(record: &Record) -> Vec<Epoch> {
    let timeless = |e: &Epoch| Epoch {
        seconds: 0.0,
        images_per_second: 0.0,
        peak_allocated_bytes: 0,
        peak_memory_bytes: None,
        ..e.clone()
    };
    record.epochs.iter().map(timeless).collect()
}

#[test]
fn every_built_in_suite_has_its_cells() {
    let count = |name: &str| Suite::find(name).unwrap().unwrap().table(&[]).unwrap().cells.len();
    let names: Vec<&str> = builtin().iter().map(|(n, _)| *n).collect();
    let counts: Vec<usize> = names.iter().map(|n| count(n)).collect();
    // Four columns, and backpropagation once per network.
    assert_eq!((names[3], counts[3]), ("table1-cifar10", 4 * 6 + 2));
    assert_eq!(counts, [9, 18, 11, 26, 26, 26, 9, 40, 4, 6]);
    // As their titles say.
    for name in ["forms", "chains"] {
        let table = Suite::find(name).unwrap().unwrap().table(&[]).unwrap();
        let data = &table.cells[0].recipe.data;
        let (limit, share) = (data.limit.unwrap(), data.validation.unwrap());
        assert_eq!((limit as f64 * share).round(), 5_000.0, "{name}");
    }
    let table = Suite::find("table1-stl10").unwrap().unwrap().table(&[]).unwrap();
    let cell = |name: &str| table.cells.iter().find(|c| c.name == name).unwrap();
    let (bp, dgl) = (cell("bp-resnet110"), cell("dgl-resnet110-55"));
    assert_eq!((bp.paper, &bp.columns[..], bp.is_plain()), (Some(19.67), &[2, 3][..], true));
    assert_eq!((dgl.paper, dgl.recipe.local.modules, dgl.recipe.data.size), (Some(28.16), 55, 96));
    assert_eq!((dgl.recipe.train.batch, dgl.recipe.train.lr), (128, 0.1));
    assert_eq!(dgl.images(), Some([5_000, 8_000]));
    let message = dgl.runnable(0).unwrap_err().to_string();
    assert!(message.contains("STL-10") && message.contains("--data stl10=PATH"), "{message}");
}

/// What is done stays done: runs that were made by hand before the suite was, `mlaan train dgl-resnet32-16 --set
/// model.backbone=resnet20 local.modules=10 --limit 10000 --epochs 15 --batch 128 --seed 2`, are its cells.
#[test]
fn runs_of_small_that_were_made_by_hand_count() {
    let by_hand = |head: &str, modules: usize, more: &str| {
        format!(
            "description = \"DGL, ResNet-32 in 16 modules\"\nseed = 2\n\n[model]\nbackbone = \"resnet20\"\nwidth = 16\n\n[local]\n\
             modules = {modules}\nbalance = false\nrecompute = \"none\"\nhead = \"{head}\"\nhidden = 128\nloss = \"cross_entropy\"\n\
             temperature = 0.07\nreconstruct = [0.0, 0.0]\ntask = [1.0, 1.0]\n\n{more}[train]\nepochs = 15\nbatch = 128\nlr = 0.8\n\
             lr_batch = 1024\nmomentum = 0.9\nnesterov = true\nweight_decay = 0.0001\nschedule = \"cosine\"\nwarmup = 10\n\
             precision = \"f32\"\n\n[data]\nsource = \"/somewhere/cifar10-jpeg\"\nsize = 32\nlimit = 10000\naugment = \"auto\"\n\
             normalise = \"auto\"\nskip_broken = false\n"
        )
    };
    let cascade = |span, one, other| {
        format!("[local.cascade]\nspan = {span}\nindependent = {one}\ncascaded = {other}\n\n")
    };
    let leap = |tie, on| format!("[local.leap]\ntie = \"{tie}\"\non = \"{on}\"\ndepth = 4\nema = 0.995\n\n");
    let released = cascade(2, 0.001, 0.999) + &leap("twin", "cascaded");
    let infopro = |text: String| {
        text.replace("reconstruct = [0.0, 0.0]", "reconstruct = [5.0, 0.5]")
            .replace("task = [1.0, 1.0]", "task = [0.0, 1.0]")
    };
    let runs = [
        ("bp-resnet20", by_hand("1c2f", 1, "")),
        ("dgl-resnet20-10", by_hand("1c2f", 10, "")),
        ("lam-resnet20-10", by_hand("0c1f", 10, &leap("pulled", "independent"))),
        ("mlm-resnet20-10", by_hand("1c2f", 10, &cascade(3, 0.001, 0.999))),
        (
            "mlaan-paper-resnet20-10",
            by_hand("0c1f", 10, &(cascade(3, 0.5, 0.5) + &leap("pulled", "independent"))),
        ),
        ("mlaan-released-resnet20-10", by_hand("0c1f", 10, &released)),
        ("infopro-resnet20-10", infopro(by_hand("1c2f", 10, ""))),
        ("dgl-star-resnet20-10", by_hand("1c2f", 10, &released)),
        ("infopro-star-resnet20-10", infopro(by_hand("1c2f", 10, &released))),
    ];
    let mut table = Suite::find("small").unwrap().unwrap().table(&[]).unwrap();
    table.find_data(&["/elsewhere".into()]).unwrap();
    assert_eq!(table.cells.len(), runs.len());
    for (cell, (name, toml)) in table.cells.iter().zip(&runs) {
        assert_eq!(cell.name, *name);
        let found = Recipe::kept(toml, name).unwrap();
        assert_eq!(found.differences(&cell.recipe(2)).unwrap(), [], "{name}");
    }
}

#[test]
fn a_table_runs_seed_by_seed_and_then_everything_is_done() {
    let at = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(TINY, at.path());
    let order: Vec<(usize, u64)> = bench.runs.iter().map(|r| (r.cell, r.seed)).collect();
    assert_eq!(order, [(0, 0), (1, 0), (0, 1), (1, 1)]);
    assert_eq!(bench.finish(), (End::Complete { failed: 0 }, vec![0, 1, 2, 3]));
    let found = bench.gather();
    found.write(at.path()).unwrap();
    assert_eq!(found.counts(), [4, 0, 4]);
    let errors: Vec<f64> = bench.records().iter().map(|r| r.summary.test_error).collect();
    let (bp, dgl) = (&found.cells[0], &found.cells[1]);
    assert_eq!(bp.test_error, Moments::of(&[errors[0], errors[2]]));
    assert_eq!(dgl.test_error, Moments::of(&[errors[1], errors[3]]));
    assert_eq!(bp.to_paper, bp.test_error.map(|m| m.mean - 50.0));
    assert_eq!((bp.test, bp.to_plain.memory, bp.to_plain.seconds), (None, 1.0, Some(1.0)));
    assert_eq!(dgl.test, {
        let mut test = Paired::of(&[(errors[1], errors[0]), (errors[3], errors[2])]);
        if let Some(t) = &mut test {
            t.p_holm = t.p;
        }
        test
    });
    assert!(dgl.to_plain.operations > 1.0 && dgl.to_plain.seconds.is_some());
    for record in bench.records() {
        assert!(record.planned_bytes >= Some(record.summary.peak_allocated_bytes), "{}", record.cell);
    }
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(at.path().join("compare.json")).unwrap()).unwrap();
    assert_eq!(json["cells"][1]["name"], "dgl-resnet8-2");
    assert_eq!(fs::read_to_string(at.path().join("compare.csv")).unwrap().lines().count(), 3);
    let text = fs::read_to_string(at.path().join("compare.md")).unwrap();
    assert!(
        text.contains("| BP | 2/2 |") && text.contains("with so few seeds") | text.contains("With so few"),
        "{text}"
    );
    // Again, from the folders alone, and from the records alone.
    let mut again = Bench::new(TINY, at.path());
    assert_eq!(again.finish(), (End::Complete { failed: 0 }, vec![]));
    fs::rename(at.path().join("results"), at.path().join("kept")).unwrap();
    let mut folders = Bench::new(TINY, at.path());
    assert_eq!(folders.finish(), (End::Complete { failed: 0 }, vec![]));
    assert!(at.path().join("results/dgl-resnet8-2/seed-1.json").is_file());
    let only = tempfile::tempdir().unwrap();
    fs::rename(at.path().join("kept"), only.path().join("results")).unwrap();
    let mut records = Bench::new(TINY, only.path());
    assert_eq!(records.finish(), (End::Complete { failed: 0 }, vec![]));
    assert_eq!(records.gather(), found);
}

#[test]
fn an_interrupted_table_resumes_as_if_nothing_had_happened() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut uninterrupted = Bench::new(TINY, whole.path());
    uninterrupted.finish();
    // Stopped within the first run's second epoch, within the second run's first, and between two runs.
    let mut steps = 0;
    for most in [3, 2, 3] {
        let (mut bench, stop, mut seen) = (Bench::new(TINY, parts.path()), AtomicBool::new(false), 0);
        let end = bench.run(None, &stop, &mut |t| {
            if let Tell::Moves(Progress::Step { .. }) = t {
                seen += 1;
                stop.store(seen >= most, Ordering::Relaxed);
            }
        });
        assert_eq!(end, End::Interrupted);
        steps += seen;
    }
    let mut rest = Bench::new(TINY, parts.path());
    assert!(rest.runs.iter().any(|r| matches!(r.standing, Standing::Begun(_))), "{:?}", rest.runs);
    assert_eq!(rest.finish().0, End::Complete { failed: 0 });
    assert_eq!(steps, 8);
    let (a, b) = (uninterrupted.records(), rest.records());
    assert_eq!((a.len(), b.len()), (4, 4));
    for (a, b) in a.iter().zip(&b) {
        assert_eq!(learnt(a), learnt(b), "{} seed {}", a.cell, a.seed);
    }
}

#[test]
fn an_ordinary_run_counts_where_its_folder_is_put() {
    let (at, images) = (tempfile::tempdir().unwrap(), "the-set");
    let mut bench = Bench::new(TINY, at.path());
    // As `mlaan train` writes it, from images that lay elsewhere.
    let recipe = bench.table.cells[1].recipe(1);
    let folder = bench.store.run("dgl-resnet8-2", 1);
    let mut trainer = Trainer::from_recipe(&recipe, &open().unwrap()).unwrap();
    let outcome = trainer.run(&folder, false, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let Outcome::Finished(summary) = outcome else { panic!("{outcome:?}") };
    let kept = folder.join("recipe.toml");
    let text = fs::read_to_string(&kept).unwrap();
    let standing = |b: &Bench| b.store.standing(&b.table.cells[1], 1);
    let Standing::Done(record) = standing(&bench).unwrap() else { panic!("not done") };
    assert_eq!((record.summary, record.machine), (summary.clone(), None));
    // Neither place of the images, nor recomputation, nor words make it another experiment.
    let moved = text
        .replace("source = \"builtin\"", "source = \"/elsewhere/the-set\"")
        .replace("recompute = \"none\"", "recompute = \"module\"");
    assert!(moved != text);
    fs::write(&kept, &moved).unwrap();
    // The built-in images are not those of a data set.
    assert!(standing(&bench).unwrap_err().to_string().contains("data.source is a data set's, not builtin"));
    bench.table.find_data(&[images.into()]).unwrap();
    let Standing::Done(record) = standing(&bench).unwrap() else { panic!("not done") };
    assert_eq!(record.summary, summary);
    assert!(!record.recipe.contains("elsewhere"), "a place on one machine: {}", record.recipe);
    // What is not finished goes on.
    fs::remove_file(folder.join("summary.json")).unwrap();
    assert_eq!(standing(&bench).unwrap(), Standing::Begun(2));
}

#[test]
fn another_experiment_is_not_taken_for_done() {
    let at = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(TINY, at.path());
    let stop = AtomicBool::new(false);
    bench.run(None, &stop, &mut |t| {
        stop.fetch_or(matches!(t, Tell::Done(_)), Ordering::Relaxed);
    });
    assert_eq!(bench.records().len(), 1);
    let refused = |text: &str| {
        let message = Runner::survey(&table(text), SEEDS, &bench.store).unwrap_err().to_string();
        assert!(message.contains("another experiment than cell bp-resnet8"), "{message}");
        assert!(message.contains("remove the comparison in "), "{message}");
        message
    };
    let longer = TINY.replace("train.epochs=2", "train.epochs=3");
    assert!(refused(&longer).contains("train.epochs is 2, not 3"));
    // Neither by the folder alone nor by the record alone.
    fs::rename(at.path().join("results"), at.path().join("elsewhere")).unwrap();
    assert!(!refused(&longer).contains("is done)"));
    // One that was begun is no loss.
    let (summary, aside) = (at.path().join("bp-resnet8/seed-0/summary.json"), at.path().join("aside.json"));
    fs::rename(&summary, &aside).unwrap();
    assert!(refused(&longer).ends_with(" (no run of it is done)"));
    fs::rename(&aside, &summary).unwrap();
    fs::rename(at.path().join("elsewhere"), at.path().join("results")).unwrap();
    fs::remove_dir_all(at.path().join("bp-resnet8")).unwrap();
    assert!(refused(&TINY.replace("model.width=4", "model.width=5")).contains("model.width is 4, not 5"));
    // A damaged record is not done either.
    let record = at.path().join("results/bp-resnet8/seed-0.json");
    let json = fs::read(&record).unwrap();
    for length in [0, 1, json.len() / 2, json.len() - 3] {
        fs::write(&record, &json[..length]).unwrap();
        let message = Runner::survey(&table(TINY), SEEDS, &bench.store).unwrap_err().to_string();
        assert!(message.contains("seed-0.json") && message.contains("remove this file"), "{message}");
    }
}

#[test]
fn a_failing_cell_is_kept_and_the_others_go_on() {
    let at = tempfile::tempdir().unwrap();
    let text = TINY.replace("rows = [", BROKEN);
    let mut bench = Bench::new(&text, at.path());
    let (end, begun) = bench.finish();
    assert_eq!((end, begun.len()), (End::Complete { failed: 2 }, 6));
    let found = bench.gather();
    assert_eq!(found.counts(), [4, 2, 6]);
    let error = found.cells[0].runs[0].error.as_ref().unwrap();
    assert!(error.contains("train.lr"), "{error}");
    assert_eq!((found.cells[0].test_error, found.cells[1].runs[0].state.as_str()), (None, "done"));
    // It is tried again, and alone; mended, it is another experiment in the same folder.
    let mut again = Bench::new(&text, at.path());
    assert!(matches!(again.runs[0].standing, Standing::Begun(_) | Standing::Failed(_)));
    assert_eq!(again.finish(), (End::Complete { failed: 2 }, vec![0, 3]));
}

#[test]
fn no_run_begins_that_the_time_is_too_short_for() {
    let at = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(TINY, at.path());
    let stop = AtomicBool::new(false);
    let end = bench.run(Some(Duration::from_micros(1)), &stop, &mut |_| panic!("nothing begins"));
    assert_eq!(end, End::OutOfTime { failed: 0 });
    assert_eq!(bench.run(Some(Duration::from_secs(3600)), &stop, &mut |_| {}), End::Complete { failed: 0 });
}

#[test]
fn a_variant_stands_beside_a_suite_and_parts_can_be_chosen() {
    let at = tempfile::tempdir().unwrap();
    let mine = at.path().join("mine.toml");
    fs::write(&mine, "[local]\nmodules = 4\nhead = \"0c1f\"\n").unwrap();
    let mut suite = Suite::find("small").unwrap().unwrap();
    suite.add(&mine.to_string_lossy());
    let mut table = suite.table(&["train.epochs=3".into()]).unwrap();
    let cell = table.cells.last().unwrap();
    assert_eq!((cell.name.as_str(), cell.recipe.local.modules), ("mine-resnet20-10", 10));
    assert_eq!((cell.recipe.train.epochs, cell.recipe.data.limit), (3, Some(10_000)));
    table.keep(&["mine".into(), "bp-resnet20".into()]).unwrap();
    let names: Vec<&str> = table.cells.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["bp-resnet20", "mine-resnet20-10"]);
    assert!(
        table.keep(&["nothing".into()]).unwrap_err().to_string().contains("mine; columns are resnet20-10")
    );
}

/// Cuts and sources are of one network: they go where a column has another, and stay where they were written for it.
#[test]
fn recipes_of_one_network_keep_their_sources() {
    let at = tempfile::tempdir().unwrap();
    let text = "[model]\nbackbone = \"resnet8\"\n[local]\nmodules = 2\n[local.leap]\nsources = [[2]]\n";
    fs::write(at.path().join("mine-resnet8-2.toml"), text).unwrap();
    let suite = |recipe: &str| {
        let text = format!(
            "title = \"t\"\ncolumns = [{{ network = \"resnet8\", modules = 2 }}]\nrows = [{{ name = \"mine\", recipe = \"{recipe}\" }}]"
        );
        Suite::parse(&text, "t", "t", at.path()).unwrap().table(&[]).unwrap().cells[0].clone()
    };
    let (own, by_rule) = (suite("mine-{network}.toml"), suite("mine-resnet8-2.toml"));
    assert_eq!((own.name.as_str(), by_rule.name.as_str()), ("mine-resnet8-2", "mine-resnet8-2"));
    let sources = |c: &mlaan::compare::Cell| c.recipe.local.leap.as_ref().unwrap().sources.clone();
    assert_eq!((sources(&own), sources(&by_rule)), (Some(vec![vec![2]]), None));
}

#[test]
fn suites_that_contradict_themselves_say_where() {
    let error = |text: &str| match Suite::parse(text, "t", "t.toml", Path::new("")) {
        Ok(suite) => suite.table(&[]).unwrap_err().to_string(),
        Err(e) => e.to_string(),
    };
    let changed = |from: &str, to: &str| error(&TINY.replace(from, to));
    assert!(changed("title = \"tiny\"", "titel = 1").contains("line 2, column 1: unknown field `titel`"));
    assert!(changed("paper = [50.0]", "paper = [1.0, 2.0]").contains("2 numbers for 1 columns"));
    assert!(changed("name = \"dgl\"", "name = \"bp\"").contains("two rows called `bp`"));
    assert!(changed("name = \"dgl\"", "name = \"../x\"").contains("becomes that of a folder"));
    assert!(changed("dgl-resnet32-16", "dgl-resnt32-16").contains("dgl-resnet32-16"));
    assert!(changed("train.epochs=2", "train.epochs=0").contains("cell bp-resnet8"));
    assert!(changed("title = \"tiny\"", "title = \"x\"\ndata = \"cifar\"").contains("cifar10"));
    assert!(error("title = \"x\"\nrows = []").contains("at least one"));
}

/// Means, deviations, t, p and intervals, against scipy.
#[test]
fn statistics_are_scipys() {
    let Some(python) = python(&["scipy.stats", "numpy"]) else { return };
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let cases: Vec<Vec<(f64, f64)>> = [2, 3, 3, 4, 5, 10, 30]
        .iter()
        .enumerate()
        .map(|(i, &n)| (0..n).map(|_| (20.0 + 3.0 * next(), 20.0 + i as f64 + 3.0 * next())).collect())
        .collect();
    let script = "import sys, json, numpy as np\nfrom scipy import stats\nout = []\nfor pairs in json.loads(sys.argv[1]):\n\
                  \x20   a, b = np.array(pairs).T\n    r = stats.ttest_rel(a, b)\n    lo, hi = r.confidence_interval(0.95)\n\
                  \x20   out.append([a.mean(), a.std(ddof=1), r.statistic, r.pvalue, (hi - lo) / 2])\nprint(json.dumps(out))";
    let told = python.run(script, &[serde_json::to_string(&cases).unwrap()]);
    let expected: Vec<[f64; 5]> = serde_json::from_str(&told).unwrap();
    for (pairs, expected) in cases.iter().zip(expected) {
        let m = Moments::of(&pairs.iter().map(|p| p.0).collect::<Vec<_>>()).unwrap();
        let t = Paired::of(pairs).unwrap();
        let found = [m.mean, m.sd.unwrap(), t.t.unwrap(), t.p.unwrap(), t.half_width];
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() <= 1e-9 * b.abs(), "{pairs:?}: {found:?}, scipy {expected:?}");
        }
    }
}
