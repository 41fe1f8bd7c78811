use super::*;

fn epoch(epoch: usize, test_error: f64) -> Event {
    Event::Epoch(Epoch { epoch, lr: 0.1, test_error, module_losses: vec![2.0, 1.0], ..Epoch::default() })
}

fn lines(run: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(run.join(METRICS)).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn epochs(run: &Path) -> Vec<u64> {
    let epochs = lines(run).into_iter().filter(|l| l["event"] == "epoch");
    epochs.map(|l| l["epoch"].as_u64().unwrap()).collect()
}

#[test]
fn an_epoch_line_has_the_documented_keys() {
    let run = tempfile::tempdir().unwrap();
    let mut m = Metrics::create(run.path()).unwrap();
    m.write(&epoch(1, 34.5)).unwrap();
    let line = lines(run.path()).remove(0);
    let mut keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "epoch",
            "event",
            "images_per_second",
            "lr",
            "module_errors",
            "module_losses",
            "peak_allocated_bytes",
            "peak_memory_bytes",
            "seconds",
            "test_accuracy",
            "test_error",
            "test_loss",
            "test_top5_accuracy",
            "train_accuracy",
            "train_error",
            "train_loss"
        ]
    );
    assert_eq!(line["event"], "epoch");
    assert_eq!(line["test_error"], 34.5);
}

#[test]
fn after_a_resumption_every_epoch_stands_once() {
    let run = tempfile::tempdir().unwrap();
    let mut m = Metrics::create(run.path()).unwrap();
    for e in 1..=4 {
        m.write(&epoch(e, 50.0)).unwrap();
    }
    // Killed in the middle of a line, and after epoch 4, whose checkpoint was not finished.
    m.file.write_all(b"{\"event\":\"epoch\",\"epo").unwrap();
    let mut m = Metrics::resume(run.path(), 3).unwrap();
    for e in 4..=5 {
        m.write(&epoch(e, 40.0)).unwrap();
    }
    assert_eq!(epochs(run.path()), [1, 2, 3, 4, 5]);
    let events = read(run.path()).unwrap();
    assert_eq!(events[3], Event::Resume { epoch: 3 });
    assert_eq!(events[4], epoch(4, 40.0));
}

#[test]
fn resuming_an_ended_or_interrupted_run_keeps_what_still_holds() {
    let run = tempfile::tempdir().unwrap();
    let mut m = Metrics::create(run.path()).unwrap();
    m.write(&epoch(1, 50.0)).unwrap();
    m.write(&Event::Interrupted { epoch: 1 }).unwrap();
    m.write(&epoch(2, 40.0)).unwrap();
    let summary = Summary { epochs: 2, ..Summary::default() };
    m.write(&Event::End(summary)).unwrap();
    Metrics::resume(run.path(), 1).unwrap();
    let events: Vec<String> =
        lines(run.path()).iter().map(|l| l["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(events, ["epoch", "interrupted", "resume"]);
}

#[test]
fn a_lost_file_is_begun_anew_and_a_run_is_never_overwritten() {
    let run = tempfile::tempdir().unwrap();
    Metrics::resume(run.path(), 2).unwrap();
    assert_eq!(read(run.path()).unwrap(), [Event::Resume { epoch: 2 }]);
    assert!(matches!(Metrics::create(run.path()), Err(Error::Io { .. })));
}

#[test]
fn numbers_that_are_not_finite_stay_json() {
    let run = tempfile::tempdir().unwrap();
    let mut m = Metrics::create(run.path()).unwrap();
    let wild = Epoch {
        epoch: 1,
        train_loss: f64::NAN,
        lr: f64::INFINITY,
        module_losses: vec![1.0, f64::NEG_INFINITY],
        ..Epoch::default()
    };
    m.write(&Event::Epoch(wild)).unwrap();
    let line = lines(run.path()).remove(0);
    assert!(line["train_loss"].is_null() && line["module_losses"][1].is_null());
    let Event::Epoch(back) = read(run.path()).unwrap().remove(0) else {
        panic!("not an epoch");
    };
    assert!(back.train_loss.is_nan() && back.module_losses[1].is_nan());
    assert_eq!(back.module_losses[0], 1.0);
}

#[test]
fn runs_from_before_accuracies_have_them() {
    let run = tempfile::tempdir().unwrap();
    let line = r#"{"event":"epoch","epoch":1,"lr":0.1,"train_loss":2.0,"train_error":62.5,"test_error":75.0,
        "module_losses":[],"module_errors":[],"seconds":1.0,"images_per_second":9.0,"peak_bytes":7}"#;
    let end = r#"{"event":"end","epochs":1,"test_error":75.0,"best_test_error":null,"best_epoch":1,"seconds":1.0,
        "peak_bytes":7,"parameters":3}"#;
    let lines = [line, end].map(|l| l.replace('\n', ""));
    std::fs::write(run.path().join(METRICS), lines.join("\n")).unwrap();
    let events = read(run.path()).unwrap();
    let [Event::Epoch(e), Event::End(s)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((e.train_accuracy, e.test_accuracy, e.test_top5_accuracy), (37.5, 25.0, None));
    assert!(e.test_loss.is_nan() && s.best_test_accuracy.is_nan() && s.test_loss.is_nan());
    assert_eq!((s.test_accuracy, s.best_epoch), (25.0, 1));
}

#[test]
fn the_summary_comes_back_as_written() {
    let run = tempfile::tempdir().unwrap();
    let summary = Summary {
        epochs: 8,
        test_accuracy: 200.0 / 3.0,
        test_error: 100.0 / 3.0,
        test_loss: 1.25,
        test_top5_accuracy: None,
        best_test_accuracy: 69.9,
        best_test_error: 30.1,
        best_epoch: 7,
        seconds: 12.5,
        peak_memory_bytes: Some(2 << 40),
        peak_allocated_bytes: 1 << 40,
        parameters: 466_906,
        tested: Some(Tested::ModelEma),
        ..Summary::default()
    };
    summary.write(run.path()).unwrap();
    assert_eq!(Summary::read(run.path()).unwrap(), summary);
    assert!(Summary::read(&run.path().join("gone")).is_err());
}
