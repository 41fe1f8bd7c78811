use super::colour::Change;
use super::*;

/// 2x3 pixels.
const IMAGE: [u8; 18] = [0, 91, 182, 37, 141, 245, 74, 191, 52, 111, 241, 115, 148, 35, 178, 185, 85, 241];

#[test]
fn colours_equal_torchvisions() {
    // torchvision 0.29: functional.adjust_brightness, _contrast, _saturation, _hue of the byte tensor.
    let expected: [(Change, [u8; 18]); 8] = [
        (
            Change::Brightness(1.3),
            [0, 118, 236, 48, 183, 255, 96, 248, 67, 144, 255, 149, 192, 45, 231, 240, 110, 255],
        ),
        (
            Change::Brightness(0.6),
            [0, 54, 109, 22, 84, 147, 44, 114, 31, 66, 144, 69, 88, 21, 106, 111, 51, 144],
        ),
        (
            Change::Contrast(1.4),
            [0, 78, 205, 2, 148, 255, 54, 218, 23, 106, 255, 111, 157, 0, 199, 209, 69, 255],
        ),
        (
            Change::Contrast(0.5),
            [61, 107, 152, 80, 132, 184, 98, 157, 87, 117, 182, 119, 135, 79, 150, 154, 104, 182],
        ),
        (
            Change::Saturation(1.7),
            [0, 102, 255, 0, 155, 255, 27, 226, 0, 57, 255, 64, 192, 0, 243, 222, 52, 255],
        ),
        (
            Change::Saturation(0.3),
            [51, 79, 106, 95, 127, 158, 120, 155, 113, 164, 203, 165, 103, 70, 112, 147, 117, 164],
        ),
        (
            Change::Hue(0.2),
            [127, 0, 182, 183, 37, 245, 52, 185, 191, 111, 211, 241, 178, 35, 36, 241, 85, 110],
        ),
        (
            Change::Hue(-0.45),
            [182, 146, 0, 245, 204, 37, 191, 52, 171, 241, 111, 198, 35, 178, 48, 94, 241, 85],
        ),
    ];
    for (change, expected) in expected {
        let mut rgb = IMAGE;
        change.apply(&mut rgb);
        let off = rgb.iter().zip(expected).map(|(a, b)| a.abs_diff(b)).max();
        assert!(off <= Some(1), "{change:?}: {rgb:?} for {expected:?}");
    }
    let mut rgb = IMAGE;
    let four = [Change::Brightness(1.2), Change::Contrast(0.8), Change::Saturation(1.5), Change::Hue(0.1)];
    four.into_iter().for_each(|c| c.apply(&mut rgb));
    let expected = [29, 0, 254, 24, 35, 255, 36, 235, 125, 105, 252, 199, 242, 38, 162, 255, 89, 178];
    assert!(rgb.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 2), "{rgb:?}");
}

#[test]
fn no_change_of_colours_is_none() {
    for change in [Change::Brightness(1.0), Change::Contrast(1.0), Change::Saturation(1.0), Change::Hue(0.0)]
    {
        let mut rgb = IMAGE;
        change.apply(&mut rgb);
        assert!(rgb.iter().zip(IMAGE).all(|(a, b)| a.abs_diff(b) <= 1), "{change:?}: {rgb:?}");
    }
    let mut grey = [7, 7, 7];
    Change::Hue(0.3).apply(&mut grey);
    assert_eq!(grey, [7, 7, 7]);
}

/// Which pixels of an image of ones are erased.
fn holes(extras: Extras, size: usize, index: usize) -> Vec<bool> {
    let mut rgb = vec![1; size * size * 3];
    extras.apply(&mut rgb, size, (3, 4, index));
    rgb.chunks_exact(3)
        .map(|p| {
            assert!(p == [1; 3] || p == extras.fill, "{p:?}");
            p == extras.fill
        })
        .collect()
}

#[test]
fn squares_are_cut_out_around_every_pixel() {
    let extras = Extras { cutout: Some(4), fill: [9, 8, 7], ..Extras::default() };
    let (n, size) = (4000, 8);
    let mut erased = vec![0; size * size];
    for i in 0..n {
        let holes = holes(extras, size, i);
        let count = holes.iter().filter(|h| **h).count();
        // At a corner a quarter of it is left; never more than all.
        assert!((4..=16).contains(&count), "{count}");
        holes.iter().zip(&mut erased).for_each(|(h, n)| *n += usize::from(*h));
    }
    // A pixel is erased by the centres around it: 4x4 of 64 in the middle, 2x2 in the first corner (rows -2 to 1).
    let share = |pixel: usize| erased[pixel] as f64 / n as f64;
    assert!((share(3 * size + 3) - 0.25).abs() < 0.03, "{}", share(27));
    assert!((share(0) - 9.0 / 64.0).abs() < 0.03, "{}", share(0));
    assert!((share(63) - 4.0 / 64.0).abs() < 0.02, "{}", share(63));
}

#[test]
fn rectangles_are_erased_as_often_and_as_large_as_torchvision_does() {
    let extras = Extras { random_erasing: Some(0.25), fill: [200; 3], ..Extras::default() };
    let (n, size) = (8000, 32);
    let counts: Vec<usize> = (0..n).map(|i| holes(extras, size, i).iter().filter(|h| **h).count()).collect();
    let erased: Vec<f64> = counts.iter().filter(|c| **c > 0).map(|c| *c as f64 / 1024.0).collect();
    let part = erased.len() as f64 / n as f64;
    assert!((part - 0.25).abs() < 0.02, "{part}");
    // 100,000 draws of torchvision's RandomErasing.get_params at 32x32: 0.1739.
    let mean = erased.iter().sum::<f64>() / erased.len() as f64;
    assert!((mean - 0.1739).abs() < 0.006, "{mean}");
    assert!(erased.iter().all(|share| (0.015..0.345).contains(share)));
}

#[test]
fn colours_differ_between_images_and_epochs_and_repeat() {
    let jitter = ColourJitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 };
    let extras = Extras { colour_jitter: Some(jitter), ..Extras::default() };
    let of = |draw| {
        // 1x1 images would be all one colour: six of them side by side are not a square, so one pixel at a time.
        let mut rgb = IMAGE[3..6].to_vec();
        extras.apply(&mut rgb, 1, draw);
        rgb
    };
    assert_eq!(of((1, 2, 3)), of((1, 2, 3)));
    assert!(
        of((1, 2, 3)) != of((1, 2, 4)) && of((1, 2, 3)) != of((1, 3, 3)) && of((1, 2, 3)) != of((2, 2, 3))
    );
}

#[test]
fn impossible_numbers_are_named() {
    let none = Extras::default();
    none.validate(8).unwrap();
    assert!(none.is_none() && Extras { fill: [1; 3], ..none }.is_none());
    let jitter = |hue| ColourJitter { brightness: 0.1, contrast: 0.1, saturation: 0.1, hue };
    for (extras, key) in [
        (Extras { cutout: Some(9), ..none }, "data.cutout"),
        (Extras { cutout: Some(0), ..none }, "data.cutout"),
        (Extras { random_erasing: Some(f64::NAN), ..none }, "data.random_erasing"),
        (Extras { mixup: Some(0.0), ..none }, "data.mixup"),
        (Extras { randaugment: Some(RandAugment { ops: 2, magnitude: 31 }), ..none }, "data.randaugment"),
        (Extras { randaugment: Some(RandAugment { ops: 0, magnitude: 9 }), ..none }, "data.randaugment"),
        (Extras { cutmix: Some(f64::INFINITY), ..none }, "data.cutmix"),
        (Extras { colour_jitter: Some(jitter(0.6)), ..none }, "data.colour_jitter"),
    ] {
        let error = extras.validate(8).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
        assert!(!extras.is_none());
    }
}
