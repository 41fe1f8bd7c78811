//! Half-size floats that are rounded stochastically, on every device against NumPy, and what their rounding means.
use crate::common::check::{Expected, Results, check, check_again, check_threads};
use crate::common::values::{tensor, wide};
use mlaan_engine::{Bf16, DType, Device, MemoryCategory, Tensor};

const LENGTHS: [usize; 10] = [1, 2, 7, 8, 9, 17, 65, 1000, 4097, 70_001];

fn halves(device: &Device, values: &[f32]) -> Tensor {
    let mut t = device.alloc([values.len()], DType::Bf16, MemoryCategory::Parameters).unwrap();
    device.upload_floats(&mut t, values).unwrap();
    t
}

/// Targets that are of half size, and sources.
fn values(n: usize) -> [Vec<f32>; 2] {
    let target = (0..n).map(|i| ((i * 7 % 64) as f32 - 31.0) / 32.0);
    [target.collect(), (0..n).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect()]
}

fn averages(device: &Device, &n: &usize) -> Results {
    let [t, s] = values(n);
    let source = tensor(device, [n], &s);
    let mut results = Results::new();
    for (m, key) in [(0.75, 0x0123_4567_89ab_cdef), (0.995, 0x0123_4567_89ab_cdef), (0.0, 77)] {
        let mut target = halves(device, &t);
        device.ema_rounded(&mut target, &source, m, key).unwrap();
        results.push((format!("{m}"), device.download(&target).unwrap()));
    }
    results
}

/// Bits by NumPy, from the definition: the product with the target exact, the sum rounded once.
const NUMPY: [u16; 33] = [
    0xbf7a, 0xbf21, 0xbe8e, 0xbede, 0xbdaf, 0x3e87, 0x3ddc, 0x3eea, 0x3f4e, 0x3f26, 0xbf00, 0xbf28, 0xbe9e,
    0x3d29, 0xbdeb, 0x3e70, 0x3f16, 0x3edb, 0x3f47, 0xbebf, 0xbf08, 0xbe39, 0xbead, 0x3c43, 0x3eb8, 0x3e52,
    0x3f0e, 0x3f67, 0xbf41, 0xbecf, 0xbd60, 0xbe58, 0x3e0e,
];

#[test]
fn averages_have_numpys_bits() {
    let run = |device: &Device, n: &usize| averages(device, n).into_iter().take(1).collect();
    let expect = |n: &usize| {
        let values = NUMPY[..*n].iter().map(|&bits| f64::from(Bf16::from_bits(bits).to_f32()));
        vec![Expected::new("0.75", values.collect(), 0.0)]
    };
    check(&[1, 8, 17, 33], run, expect);
}

#[test]
fn bits_depend_on_nothing_but_the_key() {
    check_threads(&LENGTHS, averages);
    check_again(&LENGTHS, averages);
}

#[test]
fn types_are_converted_to_the_nearest_and_back() {
    let run = |device: &Device, &n: &usize| {
        let [t, s] = values(n);
        let mut narrow = halves(device, &vec![f32::NAN; n]);
        device.convert(&mut narrow, &tensor(device, [n], &s)).unwrap();
        let mut wide = device.full([n], f32::NAN, MemoryCategory::Data).unwrap();
        device.convert(&mut wide, &halves(device, &t)).unwrap();
        let mut same = halves(device, &vec![f32::NAN; n]);
        device.convert(&mut same, &halves(device, &t)).unwrap();
        let all = [("narrow", narrow), ("wide", wide), ("same", same)];
        all.map(|(name, t)| (name.to_string(), device.download(&t).unwrap())).into()
    };
    let expect = |&n: &usize| {
        let [t, s] = values(n);
        let nearest = s.iter().map(|&s| f64::from(Bf16::from_f32(s).to_f32())).collect();
        let all = [("narrow", nearest), ("wide", wide(&t)), ("same", wide(&t))];
        all.map(|(name, values)| Expected::new(name, values, 0.0)).into()
    };
    check(&LENGTHS, run, expect);
}

#[test]
fn rounding_is_unbiased_and_goes_to_a_neighbour() {
    let (device, n) = (Device::cpu(Some(2)).unwrap(), 1 << 18);
    let source: Vec<f32> = (0..n).map(|i| 1.0 + (i as f32 + 0.5) / n as f32).collect();
    let at = tensor(&device, [n], &source);
    for key in [1, 2, 1 << 40] {
        let mut target = halves(&device, &vec![0.0; n]);
        device.ema_rounded(&mut target, &at, 0.0, key).unwrap();
        let found = device.download(&target).unwrap();
        // From 1 to 2 neighbours are 1/128 apart: an error has at most half of that as its standard deviation.
        let errors = || found.iter().zip(&source).map(|(f, s)| f64::from(f - s));
        assert!(errors().all(|e| e.abs() < 1.0 / 128.0));
        let mean = errors().sum::<f64>() / n as f64;
        assert!(mean.abs() < 5.0 * (0.5 / 128.0) / (n as f64).sqrt(), "{mean}");
        // And nothing of it goes with the place: the same of every sixteenth.
        for first in 0..16 {
            let mean = errors().skip(first).step_by(16).sum::<f64>() / (n / 16) as f64;
            assert!(mean.abs() < 6.0 * (0.5 / 128.0) / (n as f64 / 16.0).sqrt(), "{first}: {mean}");
        }
    }
}

#[test]
fn an_average_arrives_where_rounding_to_the_nearest_stops() {
    let (device, n, m) = (Device::cpu(Some(1)).unwrap(), 4096, 0.995);
    let source = device.full([n], 1.0, MemoryCategory::Data).unwrap();
    let mut target = halves(&device, &vec![0.6; n]);
    let first = Bf16::from_f32(0.6).to_f32();
    for step in 0..200 {
        // Keys are as random numbers: neighbouring ones would round other elements by the same bits.
        let key = (step + 1u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        device.ema_rounded(&mut target, &source, m, key).unwrap();
    }
    let mean = device.download(&target).unwrap().iter().map(|&t| f64::from(t)).sum::<f64>() / n as f64;
    let exact = 1.0 - (1.0 - f64::from(first)) * f64::from(m).powi(200);
    assert!((mean - exact).abs() < 0.002, "{mean}, exactly {exact}");
    // To the nearest it does not move: (1 - m) of what is left is less than half the distance of neighbours.
    let nearest = (0..200).fold(first, |t, _| Bf16::from_f32(m * t + (1.0 - m)).to_f32());
    assert!(f64::from(nearest) < exact - 0.1, "{nearest}");
}

#[test]
fn other_types_and_sizes_are_refused() {
    let device = Device::cpu(Some(1)).unwrap();
    let (mut wide, s) = (tensor(&device, [3], &[0.0; 3]), tensor(&device, [3], &[0.0; 3]));
    let refused = device.ema_rounded(&mut wide, &s, 0.5, 1).unwrap_err().to_string();
    assert!(refused.contains("ema_rounded") && refused.contains("Bf16"), "{refused}");
    let mut narrow = halves(&device, &[0.0; 4]);
    for refused in [device.ema_rounded(&mut narrow, &s, 0.5, 1), device.convert(&mut narrow, &s)] {
        assert!(refused.unwrap_err().to_string().contains("[4]"));
    }
}
