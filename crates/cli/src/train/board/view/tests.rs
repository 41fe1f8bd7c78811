use super::*;
use crate::train::eta::Eta;
use mlaan::train::metrics::{Epoch, Event};
use mlaan::train::{EpochStats, PeakBytes, Progress};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::time::{Duration, Instant};

/// What a terminal of this size would show, line by line.
fn shown(state: &State, theme: &Theme, (width, height): (u16, u16)) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|f| draw(state, theme, f.area(), f.buffer_mut())).unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| row(y).trim_end().to_owned()).collect()
}

fn fresh(before: &[Event]) -> State {
    let eta = Eta { epochs: 10, images: 400, batch: 50, held: "test", in_modules: true, testing: 0.0 };
    let names = ("mlaan-paper".into(), "/somewhere/far/away/runs/mlaan-paper".into());
    State::new(names, 64 << 20, eta, before, f64::INFINITY)
}

/// Two epochs of eight steps over `modules` modules, and half of a third.
fn run(modules: usize) -> State {
    let mut state = fresh(&[]);
    let begin = Instant::now();
    for epoch in 1..=3 {
        let mut epoch_stats =
            EpochStats { wrong: vec![0.0; modules], losses: vec![0.0; modules], ..EpochStats::default() };
        for step in 1..=if epoch == 3 { 4 } else { 8 } {
            epoch_stats.images += 50;
            epoch_stats.steps += 1;
            epoch_stats.loss += 50.0 * (3.0 - f64::from(epoch) * 0.5);
            for (j, (wrong, loss)) in epoch_stats.wrong.iter_mut().zip(&mut epoch_stats.losses).enumerate() {
                *wrong += 50.0 * (0.9 - 0.2 * f64::from(epoch) - 0.002 * j as f64);
                *loss += 50.0 * 1.25;
            }
            let (loss, error) = epoch_stats.classifier();
            state.tell(
                Progress::Step {
                    epoch: epoch as usize,
                    step,
                    steps: 8,
                    loss,
                    error,
                    images_per_second: 100.0,
                    peak: PeakBytes { memory: Some(48 << 20), allocated: 40 << 20 },
                    lr: 0.1,
                    epoch_stats: &epoch_stats,
                },
                begin,
            );
        }
        if epoch < 3 {
            state.tell(Progress::Evaluating { epoch: epoch as usize }, begin);
            let peak = PeakBytes { memory: Some(48 << 20), allocated: 40 << 20 };
            let e = epoch_stats.epoch(epoch as usize, 0.1, 80.0 - 10.0 * f64::from(epoch), 4.0, peak);
            state.tell(Progress::Epoch(&e), begin + Duration::from_secs(2));
        }
    }
    state
}

#[test]
fn the_picture_of_a_run() {
    let shown = shown(&run(16), &Theme::plain(), (80, 24));
    let expected = include_str!("curves-80x24.txt");
    assert_eq!(shown.join("\n"), expected.trim_end_matches('\n'), "\n{}", shown.join("\n"));
}

#[test]
fn every_size_shows_something_and_none_fails() {
    for modules in [0, 1, 16, 55, 300] {
        let mut state = if modules == 0 { fresh(&[]) } else { run(modules) };
        for (help, view) in
            [(false, View::Curves), (false, View::Modules), (false, View::Epochs), (true, View::Curves)]
        {
            (state.help, state.view) = (help, view);
            for size in [(1, 1), (3, 40), (20, 3), (40, 10), (64, 18), (80, 24), (250, 80)] {
                let lines = shown(&state, &Theme::coloured(), size);
                assert!(lines.iter().any(|l| !l.trim().is_empty()) || size.0 == 1, "{size:?}");
            }
        }
    }
}

#[test]
fn fifty_five_modules_are_legible_on_the_least_terminal() {
    let mut state = run(55);
    let bars = shown(&state, &Theme::plain(), LEAST).join("\n");
    assert!(bars.contains("0    5    10   15   20   25   30   35   40   45   50"), "{bars}");
    state.view = View::Modules;
    let numbers = shown(&state, &Theme::plain(), (80, 24)).join("\n");
    for word in ["  0  70.0   1.2500", " 54  80.8", "epoch 3 so far"] {
        assert!(numbers.contains(word), "{word}:\n{numbers}");
    }
}

#[test]
fn figures_say_time_memory_and_the_best() {
    let mut state = run(4);
    let text = shown(&state, &Theme::plain(), (100, 30)).join("\n");
    // 200 images and a test of two seconds are left of this epoch, and seven epochs of six seconds follow.
    for word in [
        "epoch 3/10",
        "50 %  0:04 left     step 4/8",
        "25 %  0:46 left",
        "48.0 MiB of 64.0 MiB",
        "75 %",
        "test accuracy 40.00 %  best 40.00 % (epoch 2)  lr 0.1000  100 images/s",
        "train 70.6",
        "test 40",
    ] {
        assert!(text.contains(word), "{word}:\n{text}");
    }
    state.stopping = true;
    assert!(shown(&state, &Theme::plain(), (100, 30)).join("\n").contains("stopping after this step"));
}

#[test]
fn a_resumed_run_shows_what_was_before() {
    let epoch = |epoch, test_accuracy| {
        let test_error = 100.0 - test_accuracy;
        Event::Epoch(Epoch { epoch, test_accuracy, test_error, ..Epoch::default() })
    };
    let mut state = fresh(&[epoch(1, 50.0), epoch(2, 60.0), epoch(3, 55.0)]);
    assert_eq!((state.test, state.best), (55.0, (60.0, 2)));
    state.view = View::Epochs;
    let text = shown(&state, &Theme::plain(), (100, 30)).join("\n");
    assert!(text.contains("2/10") && text.contains("60.00*") && text.contains("55.00 "), "{text}");
}

#[test]
fn nothing_is_said_by_colour_alone() {
    let state = run(16);
    let size = (100, 30);
    assert_eq!(shown(&state, &Theme::plain(), size), shown(&state, &Theme::coloured(), size));
}

#[test]
fn ranks_have_a_row_each_where_there_are_some() {
    let mut state = run(16);
    assert_eq!((state.view, state.next_view()), (View::Curves, View::Modules));
    state.view = View::Epochs;
    assert_eq!(state.next_view(), View::Curves, "one process has no ranks");
    let row = |modules: &str, busy: f64| crate::train::ranks::RankRow {
        modules: modules.into(),
        busy,
        waiting: 100.0 - busy,
        memory: 34 << 20,
        planned: 40 << 20,
    };
    state.ranks = vec![row("0 to 8", 71.4), row("9 to 15", f64::NAN)];
    assert_eq!(state.next_view(), View::Ranks);
    for (view, size) in [(View::Ranks, (80, 18)), (View::Curves, (100, 30))] {
        state.view = view;
        let shown = shown(&state, &Theme::plain(), size).join("\n");
        assert!(shown.contains("modules 0 to 8") && shown.contains("71 %"), "{shown}");
        assert!(shown.contains("modules 9 to 15") && shown.contains("34.0 MiB of 40.0 MiB"), "{shown}");
    }
    // Where there is no room below the curves, Tab shows them.
    state.view = View::Curves;
    assert!(!shown(&state, &Theme::plain(), (80, 18)).join("\n").contains("modules 0 to 8"));
}
