//! Benchmarks: what they say agrees with itself and with the plan. No time is compared.
#![allow(clippy::unwrap_used)]

use mlaan::Device;
use mlaan::bench::{Options, bench};
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
