//! The products of a minibatch's images with each other, centred for the unbiased HSIC.

use crate::Result;
use mlaan_engine::ops::{Conv2dParams, Operand};
use mlaan_engine::{DType, Device, MemoryCategory, Precision, Tensor};

/// Features multiplied at a time: bounds memory, and the length of sums in 32 bits.
const CHUNK: usize = 4_096;

/// The U-centred Gram matrix of n images: its diagonal is 0 and its rows sum to 0 (Székely and Rizzo, 2014).
///
/// The unbiased HSIC of Song et al. is the inner product of two such matrices over n (n - 3). Centring takes away whatever
/// depends on the row or on the column alone, so features may have their means subtracted beforehand: rounding then
/// does not hide small differences behind large means.
#[derive(Clone, Debug)]
pub struct Gram {
    n: usize,
    values: Vec<f64>,
}

impl Gram {
    /// Images that it needs at least.
    pub const LEAST: usize = 4;

    /// Of values `[n, h, w, c]`, each image's flattened. The products are the device's, in 32 bits.
    ///
    /// # Errors
    /// From the device.
    pub fn of(device: &Device, x: &Tensor) -> Result<Self> {
        let n = x.nhwc()[0];
        let (values, width) = (device.download(x)?, x.len() / n.max(1));
        let mut products = vec![0.0; n * n];
        let mut centred = Vec::with_capacity(n * CHUNK.min(width));
        for start in (0..width).step_by(CHUNK) {
            let taken = CHUNK.min(width - start);
            centre(&values, width, start..start + taken, &mut centred);
            let part = product(device, (n, taken), Some(&centred))?;
            products.iter_mut().zip(device.download(&part)?).for_each(|(p, v)| *p += f64::from(v));
        }
        Ok(Self::centred(n, products))
    }

    /// Makes room for the same on a device that computes nothing.
    ///
    /// # Errors
    /// From the device.
    pub fn plan(device: &Device, x: &Tensor) -> Result<()> {
        let n = x.nhwc()[0];
        product(device, (n, CHUNK.min(x.len() / n.max(1))), None).map(drop)
    }

    /// Bytes on the host of so many of them at once, and of making one.
    pub fn bytes(n: usize, grams: usize) -> usize {
        let (square, chunk) = (n * n, n * CHUNK);
        (grams + 1) * square * size_of::<f64>() + (square + chunk) * size_of::<f32>()
    }

    /// Of products that are there already, row by row, `n` images.
    pub fn centred(n: usize, mut products: Vec<f64>) -> Self {
        for i in 0..n {
            products[i * n + i] = 0.0;
            for j in 0..i {
                let mean = 0.5 * (products[i * n + j] + products[j * n + i]);
                (products[i * n + j], products[j * n + i]) = (mean, mean);
            }
        }
        let sums: Vec<f64> = products.chunks_exact(n.max(1)).map(|row| row.iter().sum()).collect();
        let total: f64 = sums.iter().sum();
        let m = n as f64;
        for i in 0..n {
            for j in (0..n).filter(|&j| j != i) {
                products[i * n + j] += total / ((m - 1.0) * (m - 2.0)) - (sums[i] + sums[j]) / (m - 2.0);
            }
        }
        Gram { n, values: products }
    }

    /// The unbiased estimate of HSIC with the same images' other values.
    pub fn hsic(&self, other: &Gram) -> f64 {
        let n = self.n as f64;
        let product: f64 = self.values.iter().zip(&other.values).map(|(a, b)| a * b).sum();
        product / (n * (n - 3.0))
    }
}

/// The products of `n` images over `features` features, whose values are given where the device computes: a linear layer
/// whose weights are the images themselves.
fn product(device: &Device, (n, features): (usize, usize), values: Option<&[f32]>) -> Result<Tensor> {
    let device = device.with_precision(Precision::F32);
    let mut rows = device.alloc([n, 1, 1, features], DType::F32, MemoryCategory::Workspace)?;
    let mut columns = device.alloc([n, features, 1, 1], DType::F32, MemoryCategory::Workspace)?;
    if let Some(values) = values {
        device.upload(&mut rows, values)?;
        device.upload(&mut columns, values)?;
    }
    Ok(device.convolve(Conv2dParams::same(1, 1), &Operand::plain(&rows), &columns, None, None)?)
}

/// Some features of all images, less their means.
fn centre(values: &[f32], width: usize, features: std::ops::Range<usize>, out: &mut Vec<f32>) {
    let rows = || values.chunks_exact(width).map(|row| &row[features.clone()]);
    let mut means = vec![0.0f64; features.len()];
    for row in rows() {
        means.iter_mut().zip(row).for_each(|(m, &v)| *m += f64::from(v));
    }
    let n = (values.len() / width.max(1)).max(1) as f64;
    out.clear();
    for row in rows() {
        out.extend(row.iter().zip(&means).map(|(&v, m)| (f64::from(v) - m / n) as f32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{RandomStream as For, Rng};

    fn random(n: usize, d: usize, seed: u64) -> Vec<f32> {
        let mut rng = Rng::new(seed, For::Shuffle, 0, 0);
        (0..n * d).map(|_| 3.0 + rng.uniform() as f32).collect()
    }

    fn gram(device: &Device, n: usize, d: usize, values: &[f32]) -> Gram {
        let mut x = device.alloc([n, 1, 1, d], DType::F32, MemoryCategory::Data).unwrap();
        device.upload(&mut x, values).unwrap();
        Gram::of(device, &x).unwrap()
    }

    fn alike(a: &Gram, b: &Gram) -> f64 {
        a.hsic(b) / (a.hsic(a) * b.hsic(b)).sqrt()
    }

    /// Song et al., equation 5, as it stands there.
    fn by_the_formula(n: usize, k: &[f64], l: &[f64]) -> f64 {
        let at = |m: &[f64], i: usize, j: usize| if i == j { 0.0 } else { m[i * n + j] };
        let (mut trace, mut sum_k, mut sum_l, mut both) = (0.0, 0.0, 0.0, 0.0);
        for i in 0..n {
            for j in 0..n {
                trace += at(k, i, j) * at(l, j, i);
                sum_k += at(k, i, j);
                sum_l += at(l, i, j);
                both += (0..n).map(|m| at(k, i, m) * at(l, m, j)).sum::<f64>();
            }
        }
        let m = n as f64;
        (trace + sum_k * sum_l / ((m - 1.0) * (m - 2.0)) - 2.0 * both / (m - 2.0)) / (m * (m - 3.0))
    }

    #[test]
    fn centred_matrices_give_the_formula_of_song() {
        let (device, n) = (Device::cpu(Some(2)).unwrap(), 9);
        let (a, b) = (random(n, 5, 1), random(n, 40, 2));
        let products = |x: &[f32]| -> Vec<f64> {
            let d = x.len() / n;
            let dot =
                |i: usize, j: usize| (0..d).map(|k| f64::from(x[i * d + k]) * f64::from(x[j * d + k])).sum();
            (0..n * n).map(|ij| dot(ij / n, ij % n)).collect()
        };
        let expected = by_the_formula(n, &products(&a), &products(&b));
        let found = gram(&device, n, 5, &a).hsic(&gram(&device, n, 40, &b));
        assert!((found - expected).abs() < 1e-6 * expected.abs().max(0.1), "{found} {expected}");
    }

    #[test]
    fn only_scale_shift_and_rotation_are_alike() {
        let (device, n) = (Device::cpu(Some(1)).unwrap(), 32);
        let a = random(n, 6, 3);
        let own = gram(&device, n, 6, &a);
        assert!((alike(&own, &own) - 1.0).abs() < 1e-12);
        // Turned by 30 degrees in every plane of two neighbours, made larger, moved.
        let (s, c) = (0.5f32, 0.75f32.sqrt());
        let turned: Vec<f32> = a
            .chunks(2)
            .flat_map(|p| [7.0 * (c * p[0] - s * p[1]) + 9.0, 7.0 * (s * p[0] + c * p[1])])
            .collect();
        assert!((alike(&own, &gram(&device, n, 6, &turned)) - 1.0).abs() < 1e-5);
        // Stretched in one direction, and unrelated.
        let stretched: Vec<f32> =
            a.iter().enumerate().map(|(i, v)| if i % 6 == 0 { 4.0 * v } else { *v }).collect();
        let part = alike(&own, &gram(&device, n, 6, &stretched));
        assert!(part > 0.3 && part < 0.9, "{part}");
        assert!(alike(&own, &gram(&device, n, 6, &random(n, 6, 4))).abs() < 0.3);
        // Values that tell no images apart.
        let flat = gram(&device, n, 6, &vec![2.0; 6 * n]);
        assert_eq!(flat.hsic(&flat), 0.0);
    }

    #[test]
    fn many_features_are_taken_in_parts() {
        let (device, n, d) = (Device::cpu(Some(2)).unwrap(), 5, CHUNK + 3);
        let a = random(n, d, 5);
        let whole = gram(&device, n, d, &a);
        let part = |from: usize, to: usize| {
            let values: Vec<f32> = a.chunks(d).flat_map(|row| row[from..to].to_vec()).collect();
            gram(&device, n, to - from, &values)
        };
        let (x, y) = (part(0, 1000), part(1000, d));
        for ((w, x), y) in whole.values.iter().zip(&x.values).zip(&y.values) {
            assert!((w - x - y).abs() < 1e-3, "{w} {}", x + y);
        }
    }
}
