use super::*;
use crate::train::PeakBytes;
use crate::train::metrics::{Event, Start};

/// The events of a file, read back by their framing.
fn events(path: &Path) -> Vec<event::Event> {
    let bytes = fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut events = Vec::new();
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        let mut framed = Vec::new();
        record::write(&mut framed, &rest[12..12 + length]).unwrap();
        assert_eq!(framed, rest[..16 + length], "a damaged record");
        events.push(event::Event::decode(&rest[12..12 + length]).unwrap());
        rest = &rest[16 + length..];
    }
    events
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

/// Names and values of the summaries at each step.
fn values(events: &[event::Event]) -> Vec<(i64, String, Option<f32>)> {
    let of = |e: &event::Event| match &e.what {
        Some(What::Summary(s)) => {
            s.value.iter().map(|v| (e.step, v.tag.clone(), v.simple_value)).collect::<Vec<_>>()
        }
        _ => Vec::new(),
    };
    events.iter().flat_map(of).collect()
}

#[test]
fn events_of_a_run_stand_at_their_steps() {
    let at = tempfile::tempdir().unwrap();
    let recipe = Recipe::load("quickstart").unwrap();
    let mut board = TensorBoard::create(at.path(), &recipe, 4).unwrap();
    let start: Start = serde_json::from_str(
        r#"{"description":"","seed":0,"data":"","train_images":8,"test_images":8,"device":"cpu","modules":2,"parameters":1,"version":""}"#,
    )
    .unwrap();
    board.tell(Progress::Event(&Event::Start(start))).unwrap();
    let epoch_stats = EpochStats {
        images: 4,
        losses: vec![4.0, 8.0],
        wrong: vec![2.0, 1.0],
        loss: 8.0,
        ..EpochStats::default()
    };
    let step = Progress::Step {
        epoch: 2,
        step: 3,
        steps: 4,
        loss: 2.0,
        error: 25.0,
        images_per_second: 1.0,
        peak: PeakBytes { memory: Some(2), allocated: 1 },
        lr: 0.1,
        epoch_stats: &epoch_stats,
    };
    board.tell(step).unwrap();
    let e = Epoch {
        epoch: 2,
        test_error: 12.5,
        module_losses: vec![1.0, f64::NAN],
        module_errors: vec![50.0, 25.0],
        ..Epoch::default()
    };
    board.tell(Progress::Epoch(&e)).unwrap();
    let events = events(&files(at.path())[0]);
    assert_eq!(events[0].what, Some(What::FileVersion("brain.Event:2".into())));
    assert_eq!((events[1].step, &events[1].what), (0, &Some(What::SessionLog(SessionLog { status: 1 }))));
    let found = values(&events);
    let has =
        |step, tag: &str, value| assert!(found.contains(&(step, tag.into(), value)), "{tag}: {found:?}");
    has(0, "recipe", None);
    has(7, "steps/loss", Some(2.0));
    has(7, "steps/error", Some(25.0));
    has(8, "test/error", Some(12.5));
    has(8, "module/0/loss", Some(1.0));
    has(8, "module/1/error", Some(25.0));
    assert!(!found.iter().any(|f| f.1 == "module/1/loss"), "what is not finite is left out");
}

#[test]
fn a_resumed_run_writes_a_later_file_that_says_from_where() {
    let at = tempfile::tempdir().unwrap();
    let recipe = Recipe::load("quickstart").unwrap();
    for _ in 0..3 {
        let mut board = TensorBoard::create(at.path(), &recipe, 10).unwrap();
        board.tell(Progress::Resumed { epoch: 2, step: 3 }).unwrap();
    }
    let files = files(at.path());
    assert_eq!(files.len(), 3, "each process has its own");
    let events = events(&files[2]);
    assert_eq!((events[1].step, &events[1].what), (24, &Some(What::SessionLog(SessionLog { status: 1 }))));
}
