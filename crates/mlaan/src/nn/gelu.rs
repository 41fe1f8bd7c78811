//! GELU as a layer.

use super::{Activation, Grad, ImageShape, Layer, Mode, Pass};
use crate::Result;
use mlaan_engine::Device;
use mlaan_engine::ops;

/// GELU (Hendrycks and Gimpel 2016), in PyTorch's forms. Its input may be normalised: behind a convolution with
/// [`ActivationFunction::Identity`](super::ActivationFunction::Identity) it stands in the place of [`Rectify`](super::Rectify).
///
/// Its values are stored beside its input, which takes the memory of one tensor more than a ReLU.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gelu {
    /// Exact, or by the hyperbolic tangent.
    pub form: ops::Gelu,
}

impl Layer for Gelu {
    fn extent(&self, input: ImageShape) -> Result<ImageShape> {
        Ok(input)
    }

    fn forward(&mut self, device: &Device, x: &Activation, _: Mode) -> Result<Activation> {
        Ok(Activation::plain(device.gelu(&x.operand(), self.form)?))
    }

    fn backward(
        &mut self,
        device: &Device,
        x: &Activation,
        _: &Activation,
        grad: Grad,
        pass: Pass,
    ) -> Result<Option<Grad>> {
        // A normalisation in front of it wants its gradients also where nothing lies below.
        if !pass.input && !pass.weights {
            return Ok(None);
        }
        let mut dx = Grad::of(device, x, pass.weights)?;
        device.gelu_backward(&x.operand(), self.form, &grad.tensor, dx.outgoing(false))?;
        Ok(Some(dx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlaan_engine::{DType, MemoryCategory};

    #[test]
    fn values_and_gradients_are_pytorchs() {
        let device = Device::cpu(Some(1)).unwrap();
        let tensor = |values: [f32; 4]| {
            let mut t = device.alloc([1, 1, 1, 4], DType::F32, MemoryCategory::Activations).unwrap();
            device.upload(&mut t, &values).unwrap();
            t
        };
        // torch.nn.functional.gelu and its gradient times (1, 2, 1, 1).
        let x = [-1.0, 0.0, 1.0, 2.5];
        for (form, y, dx) in [
            (
                ops::Gelu::Exact,
                [-0.158_655, 0.0, 0.841_345, 2.484_476],
                [-0.083_315, 1.0, 1.083_315, 1.037_611],
            ),
            (
                ops::Gelu::Tanh,
                [-0.158_808, 0.0, 0.841_192, 2.484_915],
                [-0.082_964, 1.0, 1.082_964, 1.037_952],
            ),
        ] {
            let (mut layer, x) = (Gelu { form }, Activation::plain(tensor(x)));
            let made = layer.forward(&device, &x, Mode::Train).unwrap();
            let near = |found: Vec<f32>, right: [f32; 4]| {
                assert!(
                    found.iter().zip(right).all(|(a, b)| (a - b).abs() < 5e-4),
                    "{found:?} for {right:?}"
                );
            };
            near(device.download(&made.tensor).unwrap(), y);
            let back = |layer: &mut Gelu, pass| {
                let grad = Grad::plain(tensor([1.0, 2.0, 1.0, 1.0]));
                layer.backward(&device, &x, &made, grad, pass).unwrap()
            };
            let grad = back(&mut layer, Pass { weights: true, input: true }).unwrap();
            near(device.download(&grad.tensor).unwrap(), dx);
            assert!(back(&mut layer, Pass { weights: false, input: false }).is_none());
        }
    }
}
