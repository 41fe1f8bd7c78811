//! Benchmarks: what they say agrees with itself and with the plan. Times only by their order of magnitude.

use mlaan::Device;
use mlaan::bench::{Options, bench, pace};
use mlaan::compare::{Cost, Speeds, Suite};
use mlaan::recipe::Recipe;

#[test]
fn a_report_agrees_with_itself() {
    let mut recipe = Recipe::load("quickstart").unwrap();
    recipe.set_all(["model.backbone=resnet8", "model.width=4", "local.modules=4", "train.batch=6"]).unwrap();
    let options = Options { rounds: 2, steps: 2, warmup: 1, profile: true };
    let report = bench(&recipe, &Device::cpu(Some(2)).unwrap(), &options).unwrap();
    assert_eq!((report.modules, report.classes, report.batch, report.threads), (4, 10, 6, 2));
    assert_eq!((report.device.as_str(), report.device_bytes), ("cpu", None));
    assert!(report.isa.is_some());
    assert_eq!(report.rounds.len(), 2);
    assert!(report.seconds() > 0.0 && report.of_peak().unwrap() > 0.0);
    assert_eq!(report.used, report.planned, "the plan holds to the byte");
    let m = report.machine;
    assert!(m.flops.unwrap() > 0.0 && m.sgemm > 0.0 && m.bandwidth > 0.0);
    let profile = report.profile.unwrap();
    assert_eq!(profile.operations.iter().map(|o| o.flops).sum::<u64>(), 2 * report.flops);
    assert!(profile.operations.iter().all(|o| o.calls.is_multiple_of(2)), "two equal steps");
    assert!(profile.outside() <= profile.seconds);
}

#[test]
fn a_guess_of_a_run_follows_its_images_epochs_and_tests() {
    let suite = |set: &str| {
        let text = format!(
            "title = \"t\"\nset = [\"model.width=4\", \"train.batch=6\", {set}]\nrows = [{{ name = \"bp\", recipe = \"bp-resnet8\" }}]"
        );
        let suite = Suite::parse(&text, "s", "s", "".as_ref()).unwrap();
        suite.table(&["data.source=builtin".into()]).unwrap()
    };
    let device = Device::cpu(Some(1)).unwrap();
    let table = suite("\"data.limit=60\", \"train.epochs=4\"");
    let cell = &table.cells[0];
    let cost = Cost::of(cell, device.kind(), None).unwrap();
    let (mut speeds, operations) = (Speeds::default(), cost.operations().unwrap());
    speeds.measure(cell, &cost, &device).unwrap();
    let seconds = speeds.seconds(&cell.name, operations).unwrap();
    // By the guess's own pace: four epochs are not one, and each trains and tests sixty images.
    let pace = pace(&cell.recipe, &device).unwrap();
    assert!(pace.training > 0.0 && pace.testing > 0.0);
    let same = 4.0 * 60.0 * (pace.training + pace.testing);
    assert!(seconds > same / 50.0 && seconds < same * 50.0, "{seconds} s and {same} s");
    // A finished run counts for more than the guess.
    speeds.add(&cell.name, operations, 1000.0 * seconds);
    assert!(speeds.seconds(&cell.name, operations).unwrap() > 500.0 * seconds);
}
