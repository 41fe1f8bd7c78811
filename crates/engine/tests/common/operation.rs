//! Single operations by the names that a profile gives them, as `convolve_backward dx+dw 3x3/2 16→32 32x32`, with operands as
//! networks have them.

use mlaan_engine::ops::{Conv2dParams, Incoming, NormGrad, Operand, Outgoing, WeightGrad, norm};
use mlaan_engine::{Bf16, DType, Device, MemoryCategory, Result, Tensor};

/// Runs an operation on so many images, whatever number its name says; false for a name that is not known.
pub fn run(device: &Device, name: &str, batch: usize) -> Result<bool> {
    let words: Vec<&str> = name.split(' ').collect();
    match words[..] {
        ["convolve", window, channels, sides] => {
            let Some(case) = Convolution::parse(window, channels, sides, batch) else { return Ok(false) };
            case.run(device, None)?;
        }
        ["convolve_backward", wanted, window, channels, sides] => {
            let Some(case) = Convolution::parse(window, channels, sides, batch) else { return Ok(false) };
            case.run(device, Some((wanted.contains("dx"), wanted.contains("dw"))))?;
        }
        ["add", shape] | ["add_backward", shape] => {
            let Some([_, h, w, c]) = numbers(shape) else { return Ok(false) };
            add(device, [batch, h, w, c], words[0] == "add_backward")?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Numbers between `x`.
fn numbers<const N: usize>(text: &str) -> Option<[usize; N]> {
    let all = text.split('x').map(|n| n.parse().ok()).collect::<Option<Vec<usize>>>()?;
    all.try_into().ok()
}

/// Some values, of the device's precision or in 32 bits.
fn tensor<const N: usize>(device: &Device, extents: [usize; N], dtype: DType) -> Result<Tensor> {
    let mut t = device.alloc(extents, dtype, MemoryCategory::Activations)?;
    let values: Vec<f32> = (0..t.len()).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
    match dtype {
        DType::Bf16 => {
            device.upload(&mut t, &values.iter().map(|v| Bf16::from_f32(*v)).collect::<Vec<_>>())?
        }
        _ => device.upload(&mut t, &values)?,
    }
    Ok(t)
}

struct Convolution {
    x: [usize; 4],
    out: usize,
    window: Conv2dParams,
}

impl Convolution {
    fn parse(window: &str, channels: &str, sides: &str, batch: usize) -> Option<Self> {
        let (kernel, stride) = window.split_once('/').unwrap_or((window, "1"));
        let ([kernel, _], stride) = (numbers::<2>(kernel)?, stride.parse().ok()?);
        let (c, out) = channels.split_once('→')?;
        let [h, w] = numbers(sides)?;
        let x = [batch, h, w, c.parse().ok()?];
        Some(Convolution { x, out: out.parse().ok()?, window: Conv2dParams::same(kernel, stride) })
    }

    /// Forward, or backward to what is wanted: the input's gradient, the weights'.
    fn run(&self, device: &Device, backward: Option<(bool, bool)>) -> Result<()> {
        let ([n, h, w, c], out, kernel) = (self.x, self.out, self.window.kernel);
        // Images and the inputs of shortcuts come as they are; images are in 32 bits.
        let (image, stored) = (c == 3, device.precision().dtype());
        let plain = image || (kernel == 1 && self.window.stride > 1);
        let of_x = if image { DType::F32 } else { stored };
        let (x, weights) =
            (tensor(device, self.x, of_x)?, tensor(device, [out, c, kernel, kernel], DType::F32)?);
        let rows = tensor(device, [norm::ROWS, c], DType::F32)?;
        let operand = Operand { tensor: &x, norm: (!plain).then_some(&rows), relu: !plain };
        let Some((wants_dx, wants_dw)) = backward else {
            let mut rows = tensor(device, [norm::ROWS, out], DType::F32)?;
            return device.convolve(self.window, &operand, &weights, None, Some(&mut rows)).map(drop);
        };
        let y = [n, self.window.output(h), self.window.output(w), out];
        let (grad, raw) = (tensor(device, y, stored)?, tensor(device, y, stored)?);
        let coefficients = tensor(device, [norm::COEFFICIENTS, out], DType::F32)?;
        let (mut dx, mut dw) =
            (tensor(device, self.x, of_x)?, tensor(device, [out, c, kernel, kernel], DType::F32)?);
        let mut sums = tensor(device, [norm::COEFFICIENTS, c], DType::F32)?;
        let norm = NormGrad { coefficients: &mut sums, weight: None, bias: None };
        let dx = Outgoing { grad: &mut dx, accumulate: plain, norm: (!plain).then_some(norm) };
        let dw = WeightGrad { weight: &mut dw, bias: None };
        let dy = Incoming { grad: &grad, norm: Some((&raw, &coefficients)) };
        let (dx, dw) = (wants_dx.then_some(dx), wants_dw.then_some(dw));
        device.convolve_backward(self.window, &operand, &weights, &dy, dx, dw)
    }
}

fn add(device: &Device, x: [usize; 4], backward: bool) -> Result<()> {
    let stored = device.precision().dtype();
    let (a, b) = (tensor(device, x, stored)?, tensor(device, x, stored)?);
    let rows = tensor(device, [norm::ROWS, x[3]], DType::F32)?;
    let part = Operand { tensor: &a, norm: Some(&rows), relu: false };
    if !backward {
        return device.add(&part, Some(&Operand::plain(&b)), true).map(drop);
    }
    let mut grad = tensor(device, x, stored)?;
    let mut sums = tensor(device, [norm::COEFFICIENTS, x[3]], DType::F32)?;
    let norm = NormGrad { coefficients: &mut sums, weight: None, bias: None };
    device.add_backward(&mut grad, Some(&b), [Some((&part, norm)), None])
}
