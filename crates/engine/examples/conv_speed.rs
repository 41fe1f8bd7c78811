//! Times the operations of a CIFAR ResNet at batch 128, for development:
//! `cargo run --release -p mlaan-engine --example conv_speed -- [threads] [part of a name] [repetitions]`.
//! Each time is the least of the repetitions.
use mlaan_engine::ops::{Conv2dParams, Incoming, NormGrad, Operand, Outgoing, WeightGrad, norm};
use mlaan_engine::{DType, Device, MemoryCategory, Result, Tensor};
use std::time::Instant;

const BATCH: usize = 128;
/// Floats that push everything else out of the caches.
const OTHER: usize = 12 << 20;

struct Bench {
    device: Device,
    filter: String,
    repetitions: usize,
}

impl Bench {
    fn least(&self, mut f: impl FnMut() -> Result<()>) -> Result<f64> {
        let mut least = f64::MAX;
        let mut other = self.device.alloc([OTHER], DType::F32, MemoryCategory::Data)?;
        for _ in 0..self.repetitions {
            // In training, a tensor has left the caches before it is read again.
            self.device.fill(&mut other, 0.0)?;
            let t = Instant::now();
            f()?;
            least = least.min(t.elapsed().as_secs_f64());
        }
        Ok(least)
    }

    fn tensor<const N: usize>(&self, extents: [usize; N]) -> Result<Tensor> {
        let mut t = self.device.alloc(extents, DType::F32, MemoryCategory::Activations)?;
        let values: Vec<f32> = (0..t.len()).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
        self.device.upload(&mut t, &values)?;
        Ok(t)
    }

    fn convolution(&self, h: usize, c: usize, oc: usize, k: usize, s: usize) -> Result<()> {
        let name = format!("{h}x{h} {c}->{oc} k{k} s{s}");
        if !name.contains(&self.filter) {
            return Ok(());
        }
        let window = Conv2dParams::same(k, s);
        let o = window.output(h);
        let (x, w) = (self.tensor([BATCH, h, h, c])?, self.tensor([oc, c, k, k])?);
        let (xn, mut rows) = (self.tensor([norm::ROWS, c])?, self.tensor([norm::ROWS, oc])?);
        let (grad, raw) = (self.tensor([BATCH, o, o, oc])?, self.tensor([BATCH, o, o, oc])?);
        let coefficients = self.tensor([norm::COEFFICIENTS, oc])?;
        let (mut dx, mut dw) = (self.tensor([BATCH, h, h, c])?, self.tensor([oc, c, k, k])?);
        let mut sums = self.tensor([norm::COEFFICIENTS, c])?;
        // Images and the inputs of shortcuts come as they are, and nobody asks for an image's gradient.
        let (image, plain) = (c == 3, c == 3 || k == 1);
        let norm = (!plain).then_some(&xn);
        let operand = Operand { tensor: &x, norm, relu: !plain };
        let dy = Incoming { grad: &grad, norm: Some((&raw, &coefficients)) };
        let d = &self.device;
        let forward = self.least(|| d.convolve(window, &operand, &w, None, Some(&mut rows)).map(drop))?;
        let mut backward = |wants_dx: bool, wants_dw: bool| {
            self.least(|| {
                let norm = NormGrad { coefficients: &mut sums, weight: None, bias: None };
                let (accumulate, norm) = (plain, (!plain).then_some(norm));
                let dx = (wants_dx && !image).then_some(Outgoing { grad: &mut dx, accumulate, norm });
                let dw = wants_dw.then_some(WeightGrad { weight: &mut dw, bias: None });
                d.convolve_backward(window, &operand, &w, &dy, dx, dw)
            })
        };
        let times = [forward, backward(true, false)?, backward(false, true)?, backward(true, true)? / 2.0];
        let flops = 2.0 * (BATCH * o * o * oc * c * k * k) as f64;
        let shown = times.map(|t| format!("{:8.3} {:6.1}", t * 1e3, flops / t / 1e9));
        println!("{name:>20} {}", shown.join(" |"));
        Ok(())
    }

    fn add(&self, h: usize, c: usize) -> Result<()> {
        let name = format!("add {h}x{h} {c}");
        if !name.contains(&self.filter) {
            return Ok(());
        }
        let (x, y) = (self.tensor([BATCH, h, h, c])?, self.tensor([BATCH, h, h, c])?);
        let (rows, mut grad) = (self.tensor([norm::ROWS, c])?, self.tensor([BATCH, h, h, c])?);
        let mut sums = self.tensor([norm::COEFFICIENTS, c])?;
        let d = &self.device;
        let part = Operand { tensor: &x, norm: Some(&rows), relu: false };
        let forward = self.least(|| d.add(&part, Some(&Operand::plain(&y)), true).map(drop))?;
        let backward = self.least(|| {
            let norm = NormGrad { coefficients: &mut sums, weight: None, bias: None };
            d.add_backward(&mut grad, Some(&y), [Some((&part, norm)), None])
        })?;
        // Forward reads two and writes one; backward reads three and writes one.
        let bytes = 4.0 * x.len() as f64;
        let shown = [(forward, 3.0), (backward, 4.0)]
            .map(|(t, n)| format!("{:8.3} {:6.1}", t * 1e3, n * bytes / t / 1e9));
        println!("{name:>20} {} GB/s", shown.join(" |"));
        Ok(())
    }
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let threads = args.next().and_then(|t| t.parse().ok());
    let filter = args.next().unwrap_or_default();
    let repetitions = args.next().and_then(|r| r.parse().ok()).unwrap_or(15);
    let bench = Bench { device: Device::cpu(threads)?, filter, repetitions };
    println!("{:>20} {:>15} |{:>15} |{:>15} |{:>15}", "ms, GFLOP/s", "forward", "dx", "dw", "half of both");
    for (h, c, oc, k, s) in [
        (32, 3, 16, 3, 1),
        (32, 16, 16, 3, 1),
        (32, 16, 32, 3, 2),
        (32, 16, 32, 1, 2),
        (16, 32, 32, 3, 1),
        (16, 32, 64, 3, 2),
        (16, 32, 64, 1, 2),
        (8, 64, 64, 3, 1),
        (8, 64, 128, 1, 1),
        (8, 256, 256, 3, 1),
    ] {
        bench.convolution(h, c, oc, k, s)?;
    }
    for (h, c) in [(32, 16), (16, 32), (8, 64)] {
        bench.add(h, c)?;
    }
    Ok(())
}
