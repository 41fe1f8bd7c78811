//! Times the convolutions of a CIFAR ResNet, for development: `cargo run --release -p mlaan-engine --example conv_speed`.
use mlaan_engine::ops::{Incoming, NormGrad, Operand, Outgoing, WeightGrad, Window, norm};
use mlaan_engine::{DType, Device, Purpose, Result};
use std::time::Instant;

fn median(mut f: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = vec![];
    for _ in 0..9 {
        let t = Instant::now();
        f()?;
        times.push(t.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[4])
}

fn main() -> Result<()> {
    let threads = std::env::args().nth(1).and_then(|t| t.parse().ok());
    let d = Device::cpu(threads)?;
    let n = 128;
    println!("{:>28} {:>18} {:>18} {:>18} {:>18} (ms, GFLOP/s)", "", "forward", "dx", "dw", "both");
    for (h, c, oc, k, s) in [
        (32, 3, 16, 3, 1),
        (32, 16, 16, 3, 1),
        (32, 16, 32, 3, 2),
        (32, 16, 32, 1, 2),
        (16, 32, 32, 3, 1),
        (16, 32, 64, 3, 2),
        (8, 64, 64, 3, 1),
        (8, 64, 128, 1, 1),
        (8, 256, 256, 3, 1),
    ] {
        let window = Window::same(k, s);
        let f = Purpose::Activations;
        let mut x = d.alloc([n, h, h, c], DType::F32, f)?;
        let values: Vec<f32> = (0..x.len()).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
        d.upload(&mut x, &values)?;
        let w = d.full([oc, c, k, k], 0.05, f)?;
        let mut rows = d.full([norm::ROWS, oc], 1.0, f)?;
        let xn = d.full([norm::ROWS, c], 1.0, f)?;
        let operand = Operand { tensor: &x, norm: Some(&xn), relu: true };
        let o = window.output(h);
        let fl = 2.0 * (n * o * o * oc * c * k * k) as f64 / 1e9;
        let tf = median(|| d.convolve(window, &operand, &w, None, Some(&mut rows)).map(drop))?;
        let grad = d.full([n, o, o, oc], 0.01, f)?;
        let raw = d.full([n, o, o, oc], 0.02, f)?;
        let k3 = d.full([3, oc], 0.5, f)?;
        let dy = Incoming { grad: &grad, norm: Some((&raw, &k3)) };
        let mut dx = d.alloc([n, h, h, c], DType::F32, f)?;
        let mut dw = d.alloc([oc, c, k, k], DType::F32, f)?;
        let mut co = d.alloc([3, c], DType::F32, f)?;
        let mut run = |a: bool, b: bool| {
            median(|| {
                let ng = NormGrad { coefficients: &mut co, weight: None, bias: None };
                let out = a.then_some(Outgoing { grad: &mut dx, accumulate: false, norm: Some(ng) });
                let dw = b.then_some(WeightGrad { weight: &mut dw, bias: None });
                d.convolve_backward(window, &operand, &w, &dy, out, dw)
            })
        };
        let (ta, tb, tab) = (run(true, false)?, run(false, true)?, run(true, true)?);
        let show = |t: f64, f: f64| format!("{:9.3} {:8.1}", t * 1e3, f / t);
        println!(
            "{:>28} {:>18} {:>18} {:>18} {:>18}",
            format!("{h}x{h} {c}->{oc} k{k} s{s}"),
            show(tf, fl),
            show(ta, fl),
            show(tb, fl),
            show(tab, 2.0 * fl)
        );
    }
    Ok(())
}
