//! Numbers that scikit-learn and NumPy gave for the same logits, and what is defined where they have none.

use super::*;
use std::path::Path;

/// `near(a, b)` to what rounding leaves.
fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

fn names(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("c{i}")).collect()
}

/// Logits of 24 images of seven classes: class 4 is never guessed, 5 has no image, 6 neither.
fn fixture() -> (Vec<[f32; 7]>, Vec<usize>) {
    let row = |i: usize| {
        let label = (i * i + i / 3) % 5;
        let mut row: [f32; 7] =
            std::array::from_fn(|c| ((i * 7 + c * 13 + (i * c) % 5) % 17) as f32 / 4.0 - 2.0);
        (row[4], row[6]) = (row[4] - 10.0, -3.0);
        row[label] += if i.is_multiple_of(2) { 1.5 } else { 0.0 };
        (row, label)
    };
    (0..24).map(row).unzip()
}

fn evaluated(rows: &[[f32; 7]], labels: &[usize], mistakes: usize) -> Evaluation {
    let mut meter = Meter::new(7, rows.len(), mistakes);
    rows.iter().zip(labels).enumerate().for_each(|(i, (row, &label))| meter.add(i, row, label));
    meter.finish(&names(7), &|i| (i == 2).then(|| "two.jpg".to_owned()))
}

#[test]
fn numbers_are_scikit_learns() {
    let (rows, labels) = fixture();
    let found = evaluated(&rows, &labels, 3);
    assert_eq!((found.images, found.undefined), (24, 0));
    near(found.accuracy, 20.833333333333336);
    near(found.error, 79.16666666666667);
    near(found.top5_accuracy.unwrap(), 83.33333333333334);
    near(found.top5_error.unwrap(), 16.666666666666668);
    near(found.loss, 3.381254410109211);
    near(found.calibration_error.unwrap(), 38.16006545012141);
    let expected = [
        (5, [11.11111111111111, 20.0, 14.285714285714285]),
        (8, [50.0, 25.0, 33.33333333333333]),
        (2, [20.0, 50.0, 28.57142857142857]),
        (5, [33.33333333333333, 20.0, 25.0]),
        // Nothing to divide by.
        (4, [0.0, 0.0, 0.0]),
        (0, [0.0, 0.0, 0.0]),
    ];
    for (class, (images, scores)) in found.classes.iter().zip(expected) {
        assert_eq!(class.images, images);
        let own = [class.precision, class.recall, class.f1].map(Option::unwrap);
        own.into_iter().zip(scores).for_each(|(a, b)| near(a, b));
        assert_eq!(class.error, (images > 0).then(|| 100.0 - scores[1]));
    }
    let absent = &found.classes[6];
    assert_eq!((absent.precision, absent.recall, absent.f1, absent.error), (None, None, None, None));
    for (average, scores) in [
        (found.macro_average, [19.074074074074073, 19.166666666666664, 16.865079365079364]),
        (found.weighted_average, [27.59259259259259, 20.833333333333336, 21.6765873015873]),
    ] {
        let own = [average.precision, average.recall, average.f1].map(Option::unwrap);
        own.into_iter().zip(scores).for_each(|(a, b)| near(a, b));
    }
    let matrix: Vec<Vec<u64>> = (0..7).map(|class| found.confusion.dense_row(class, 7)).collect();
    let expected = [
        [1, 1, 1, 1, 0, 1, 0],
        [2, 2, 2, 1, 0, 1, 0],
        [1, 0, 1, 0, 0, 0, 0],
        [2, 0, 1, 1, 0, 1, 0],
        [3, 1, 0, 0, 0, 0, 0],
        [0; 7],
        [0; 7],
    ];
    assert_eq!(matrix, expected);
    let mistakes: Vec<_> =
        found.mistakes.iter().map(|m| (m.index, m.class.as_str(), m.predicted.as_deref())).collect();
    assert_eq!(mistakes, [(17, "c4", Some("c1")), (2, "c4", Some("c0")), (9, "c4", Some("c0"))]);
    for (mistake, (confidence, loss)) in found.mistakes.iter().zip([
        (39.636878459012095, 13.675410226876979),
        (39.65387872925727, 12.674981418498588),
        (34.97302203357082, 10.550593220757833),
    ]) {
        near(mistake.confidence.unwrap(), confidence);
        near(mistake.loss, loss);
    }
    let images: Vec<Option<&str>> = found.mistakes.iter().map(|m| m.image.as_deref()).collect();
    assert_eq!(images, [None, Some("two.jpg"), None]);
}

#[test]
fn an_image_without_numbers_is_wrong_and_taken_for_nothing() {
    let (mut rows, labels) = fixture();
    // A right one of class 0.
    let right = (0..24).find(|&i| labels[i] == 0 && rank(&rows[i], 0) == 0).unwrap();
    rows[right][3] = f32::NAN;
    let found = evaluated(&rows, &labels, 2);
    assert_eq!((found.images, found.undefined, found.classes[0].images), (24, 1, 5));
    near(found.accuracy, 100.0 * 4.0 / 24.0);
    assert!(found.loss.is_nan() && found.calibration_error.is_none());
    assert_eq!((found.classes[0].recall, found.classes[0].predicted), (Some(0.0), 8));
    let taken: u64 = found.confusion.pairs().iter().map(|p| p.images).sum();
    assert_eq!(taken, 23);
    let worst = &found.mistakes[0];
    assert_eq!((worst.index, &worst.predicted, worst.confidence), (right, &None, None));
    assert_eq!(found.mistakes[1].index, 17);
    let mut csv = Vec::new();
    let (names, images) = found.names();
    found.confusion.write_csv((&names, &images), Path::new("x"), &mut csv).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    assert!(csv.contains("c6,no number\nc0,0,1,1,1,0,1,0,1\n"), "{csv}");
}

#[test]
fn equal_logits_are_guesses_of_the_first_class() {
    let rows = [[0.5; 7]; 7];
    let found = evaluated(&rows, &[0, 1, 2, 3, 4, 5, 6], 7);
    near(found.accuracy, 100.0 / 7.0);
    near(found.top5_accuracy.unwrap(), 500.0 / 7.0);
    near(found.loss, 7f64.ln());
    // All in one bin, as confident as they are right.
    near(found.calibration_error.unwrap(), 0.0);
    assert_eq!((found.classes[0].predicted, found.classes[6].precision), (7, Some(0.0)));
    let order: Vec<usize> = found.mistakes.iter().map(|m| m.index).collect();
    assert_eq!(order, [1, 2, 3, 4, 5, 6], "the first of equals first; a right guess is no mistake");
}

#[test]
fn one_class_and_no_image_have_numbers_too() {
    let mut meter = Meter::new(1, 2, 5);
    meter.add(0, &[-4.0], 0);
    meter.add(1, &[9.0], 0);
    let found = meter.finish(&names(1), &|_| None);
    assert_eq!((found.accuracy, found.loss, found.top5_accuracy), (100.0, 0.0, None));
    assert_eq!((found.macro_average.f1, found.calibration_error), (Some(100.0), Some(0.0)));
    assert!(found.mistakes.is_empty());
    let none = Meter::new(3, 0, 5).finish(&names(3), &|_| None);
    assert_eq!((none.images, none.accuracy, none.macro_average), (0, 0.0, Average::default()));
    assert!(none.loss.is_nan() && none.calibration_error.is_none());
    // A label that is no class, and an output that has no name.
    let mut odd = Meter::new(2, 1, 0);
    odd.add(0, &[0.0, 1.0], 2);
    assert_eq!(odd.finish(&names(1), &|_| None).names(), (vec!["c0".into(), "1".into()], vec![0, 0]));
}

#[test]
fn top_five_needs_more_than_five_classes() {
    for (classes, has) in [(5, false), (6, true)] {
        let mut meter = Meter::new(classes, 1, 0);
        meter.add(0, &vec![0.0; classes], 0);
        assert_eq!(meter.finish(&names(classes), &|_| None).top5_accuracy.is_some(), has);
    }
}

#[test]
fn a_file_comes_back_and_a_damaged_one_is_told() {
    let run = tempfile::tempdir().unwrap();
    assert_eq!(Evaluated::read(run.path()).unwrap(), None);
    let (mut rows, labels) = fixture();
    let found = evaluated(&rows, &labels, 4);
    let evaluated_ = Evaluated { epoch: 7, data: "made up".into(), found };
    evaluated_.write(run.path()).unwrap();
    assert_eq!(Evaluated::read(run.path()).unwrap().as_ref(), Some(&evaluated_));
    // What is not finite is null, and comes back as no number.
    rows[0][0] = f32::NAN;
    let undefined = Evaluated { found: evaluated(&rows, &labels, 4), ..evaluated_ };
    undefined.write(run.path()).unwrap();
    let path = run.path().join(EVALUATION);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"loss\":null"), "{text}");
    let back = Evaluated::read(run.path()).unwrap().unwrap();
    assert!(back.found.loss.is_nan() && back.found.mistakes[0].loss.is_nan());
    assert_eq!(back.found.classes, undefined.found.classes);
    let error = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Evaluated::read(run.path()).unwrap_err().to_string()
    };
    assert!(error("{}").contains("is no evaluation of a run"));
    let other = error(&text.replace("\"confusion\":[[0,", "\"confusion\":[[70,"));
    assert!(other.contains("evaluation.json") && other.contains("`confusion`"), "{other}");
}

#[test]
fn memory_is_bounded_by_images_not_by_classes_squared() {
    let of = |classes, images| Meter::bytes(classes, images, KEPT_MISTAKES);
    assert!(of(1000, 50_000) < 8 << 20, "{}", of(1000, 50_000));
    assert!(of(21_841, 100_000) < 32 << 20, "{}", of(21_841, 100_000));
    assert!(of(10, 10_000) < 256 << 10, "{}", of(10, 10_000));
}
