use super::*;

fn counting(height: usize, width: usize) -> Vec<u8> {
    (0..height * width).flat_map(|i| [i as u8, (i * 3) as u8, (i * 7) as u8]).collect()
}

fn view(height: usize, width: usize, rgb: &[u8]) -> ImageView<'_> {
    ImageView { height, width, rgb }
}

fn applied(augment: Augment, image: ImageView<'_>, size: usize, index: usize) -> Vec<u8> {
    let mut out = vec![0; size * size * 3];
    augment.apply(image, Frame::usual(size), (1, 2, index), &mut out, &mut Scratch::default());
    out
}

/// The first channel of a pad-crop without flip, for a shift given directly.
fn shifted(shift: [isize; 2], mode: PadMode) -> Vec<u8> {
    let rgb = counting(3, 3);
    let mut out = vec![99; 27];
    pad_crop(view(3, 3, &rgb), Frame::usual(3), shift, mode, &mut out, &mut Scratch::default());
    out.chunks_exact(3).map(|p| p[0]).collect()
}

#[test]
fn reflection_does_not_repeat_the_edge() {
    // torch.nn.functional.pad(torch.arange(9.).view(1, 1, 3, 3), (2,) * 4, "reflect"), cropped.
    assert_eq!(shifted([-2, -2], PadMode::Reflect), [8, 7, 6, 5, 4, 3, 2, 1, 0]);
    assert_eq!(shifted([2, 1], PadMode::Reflect), [7, 8, 7, 4, 5, 4, 1, 2, 1]);
    assert_eq!(shifted([-1, 0], PadMode::Zero), [0, 0, 0, 0, 1, 2, 3, 4, 5]);
    assert_eq!(shifted([1, -1], PadMode::Zero), [0, 3, 4, 0, 6, 7, 0, 0, 0]);
}

#[test]
fn every_shift_and_both_directions_occur() {
    let rgb = counting(8, 8);
    let augment = Augment::preset("stl10").unwrap();
    let mut seen = std::collections::HashSet::new();
    for index in 0..4000 {
        seen.insert(applied(augment, view(8, 8, &rgb), 8, index));
    }
    assert_eq!(seen.len(), 9 * 9 * 2);
}

#[test]
fn mirroring_swaps_left_and_right() {
    let mut rgb = counting(3, 3);
    mirror(&mut rgb, 3);
    let first: Vec<u8> = rgb.chunks_exact(3).map(|p| p[0]).collect();
    assert_eq!(first, [2, 1, 0, 5, 4, 3, 8, 7, 6]);
    assert_eq!(rgb[..3], [2, 6, 14]);
}

#[test]
fn evaluation_keeps_a_fitting_image_and_crops_the_centre_of_others() {
    let rgb = counting(7, 7);
    assert_eq!(applied(Augment::None, view(7, 7, &rgb), 7, 0), rgb);
    // 8x12 with size 7: the short side becomes 8 (no resizing), then rows 0..7 and columns 2..9: the
    // half-way offset 0.5 goes to 0 and 2.5 to 2.
    let rgb = counting(8, 12);
    let out = applied(Augment::None, view(8, 12, &rgb), 7, 0);
    assert_eq!(out[..3], rgb[2 * 3..3 * 3]);
    assert_eq!(out[6 * 7 * 3..6 * 7 * 3 + 3], rgb[(6 * 12 + 2) * 3..(6 * 12 + 2) * 3 + 3]);
}

#[test]
fn random_regions_have_the_distribution_asked_for() {
    let rgb = vec![0; 60 * 90 * 3];
    let image = view(60, 90, &rgb);
    let (mut area, mut lowest, mut highest) = (0.0, f64::MAX, 0.0f64);
    let n = 5_000;
    for i in 0..n {
        let mut rng = Rng::new(3, RandomStream::Augment, 0, i);
        let r = random_region(image, [0.08, 1.0], [0.75, 4.0 / 3.0], &mut rng);
        assert!(r.left + r.width <= 90, "{r:?}");
        assert!(r.top + r.height <= 60, "{r:?}");
        let share = (r.width * r.height) as f64 / 5400.0;
        area += share / n as f64;
        (lowest, highest) = (lowest.min(share), highest.max(share));
        assert!((0.7..1.45).contains(&(r.width as f64 / r.height as f64)), "{r:?}");
    }
    // torchvision's get_params on the same size gives a mean area of 0.394 (tries that do not fit
    // are drawn again, which favours small areas).
    assert!((area - 0.394).abs() < 0.015, "{area}");
    assert!(lowest < 0.1 && highest > 0.8, "{lowest} {highest}");
}

#[test]
fn extreme_shapes_fall_back_to_the_central_part() {
    let rgb = vec![0; 2 * 400 * 3];
    let mut rng = Rng::new(0, RandomStream::Augment, 0, 0);
    let wide = random_region(view(2, 400, &rgb), [0.9, 1.0], [0.75, 4.0 / 3.0], &mut rng);
    assert_eq!((wide.height, wide.width, wide.left), (2, 3, 198));
    let tall = random_region(view(400, 2, &rgb), [0.9, 1.0], [0.75, 4.0 / 3.0], &mut rng);
    assert_eq!((tall.height, tall.width, tall.top), (3, 2, 198));
}

#[test]
fn every_preset_works_on_every_size_of_image() {
    for name in Augment::PRESETS {
        let augment = Augment::preset(name).unwrap();
        augment.validate(16).unwrap();
        for (height, width) in [(16, 16), (1, 1), (1, 50), (50, 1), (40, 30), (8, 16)] {
            let rgb = vec![200; height * width * 3];
            let out = applied(augment, view(height, width, &rgb), 16, 5);
            let padded = matches!(augment, Augment::PadCrop { mode: PadMode::Zero, .. });
            assert!(padded || out.iter().all(|v| *v == 200), "{name} {height}x{width}");
        }
    }
}

#[test]
fn the_same_draw_gives_the_same_image_whatever_ran_before() {
    let (a, b) = (counting(9, 9), counting(20, 31));
    let mut scratch = Scratch::default();
    for name in Augment::PRESETS {
        let augment = Augment::preset(name).unwrap();
        let fresh = applied(augment, view(9, 9, &a), 8, 11);
        let mut out = vec![0; 8 * 8 * 3];
        augment.apply(view(20, 31, &b), Frame::usual(8), (1, 2, 12), &mut out, &mut scratch);
        augment.apply(view(9, 9, &a), Frame::usual(8), (1, 2, 11), &mut out, &mut scratch);
        assert_eq!(out, fresh, "{name}");
    }
}

#[test]
fn impossible_parameters_are_named() {
    let pad = |pad| Augment::PadCrop { pad, mode: PadMode::Reflect, flip: true };
    assert!(pad(7).validate(8).is_ok());
    let error = pad(8).validate(8).unwrap_err().to_string();
    assert!(error.contains("pad is 8") && error.contains("data.augment"), "{error}");
    let crop = |scale, ratio| Augment::RandomResizedCrop { scale, ratio, flip: true };
    assert!(crop([0.5, 0.2], [1.0, 1.0]).validate(8).is_err());
    assert!(crop([0.5, 1.2], [1.0, 1.0]).validate(8).is_err());
    assert!(crop([0.5, 1.0], [0.0, 1.0]).validate(8).is_err());
    assert!(crop([0.5, f64::NAN], [1.0, 1.0]).validate(8).is_err());
    assert!(Augment::None.validate(0).is_err());
}

#[test]
fn it_reads_and_writes_as_tagged_text() {
    let text = "kind = \"pad_crop\"\npad = 4\nmode = \"reflect\"\nflip = true\n";
    let augment: Augment = toml::from_str(text).unwrap();
    assert_eq!(Some(augment), Augment::preset("cifar"));
    assert_eq!(toml::to_string(&augment).unwrap(), text);
    assert!(toml::from_str::<Augment>("kind = \"pad_crop\"\npadd = 4").is_err());
}
