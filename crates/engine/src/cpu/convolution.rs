//! Convolutions: operands as slices, computed by `conv`.

use super::conv::{self, Backward, DxOut, Forward};
use super::operand::{load, sink_norm};
use super::value::typed;
use super::{Cpu, Model};
use crate::Tensor;
use crate::backend::Scratch;
use crate::ops::{Convolve, ConvolveBackward, Kernel, Weights};

impl Kernel<Convolve<'_>> for Cpu {
    fn scratch(model: &Model, op: &Convolve<'_>) -> Option<usize> {
        Some(conv::forward_scratch(op.x.tensor.nhwc(), op.out(), op.window, model.slots()))
    }

    fn launch(&self, op: Convolve<'_>, y: &mut Tensor, scratch: Scratch<'_>) {
        let Convolve { window, x, w, bias, norm, .. } = op;
        let (extents, scratch) = ((x.tensor.nhwc(), y.nhwc()[3], window), scratch.host());
        typed!(x.tensor.dtype(), X => typed!(y.dtype(), Y => {
            let op = Forward::<X, Y> {
                x: x.tensor.host(),
                load: load(&x),
                w: match w {
                    Weights::Plain(w) => conv::Weights::Plain(w.host()),
                    Weights::PackedWeights(w) => conv::Weights::PackedWeights(w.values.host()),
                },
                bias: bias.map(Tensor::host),
                y: y.host_mut(),
                norm: norm.map(Tensor::host_mut),
            };
            self.run(|| conv::forward(self.isa(), extents, op, self.model.slots(), scratch));
        }));
    }
}

impl Kernel<ConvolveBackward<'_>> for Cpu {
    fn scratch(model: &Model, op: &ConvolveBackward<'_>) -> Option<usize> {
        let extents = (op.x.tensor.nhwc(), op.dy.grad.nhwc()[3], op.window);
        let (dx, dw) = (op.dx.is_some(), op.dw.is_some());
        Some(conv::backward_scratch(extents, model.slots(), dx, dw))
    }

    fn launch(&self, op: ConvolveBackward<'_>, (): &mut (), scratch: Scratch<'_>) {
        let ConvolveBackward { window, x, w, dy, dx, dw } = op;
        let (extents, scratch) = ((x.tensor.nhwc(), dy.grad.nhwc()[3], window), scratch.host());
        typed!(x.tensor.dtype(), X => typed!(dy.grad.dtype(), Y => {
            let op = Backward::<X, Y> {
                x: x.tensor.host(),
                load: load(&x),
                w: w.host(),
                grad: dy.grad.host(),
                grad_norm: dy.norm.map(|(raw, k)| (raw.host(), k.host())),
                dx: dx.map(|d| DxOut {
                    grad: d.grad.host_mut(),
                    accumulate: d.accumulate,
                    operand_norm: x.norm.map(Tensor::host),
                    norm: d.norm.map(sink_norm),
                }),
                dw: dw.map(|d| (d.weight.host_mut(), d.bias.map(Tensor::host_mut))),
            };
            self.run(|| conv::backward(self.isa(), extents, op, self.model.slots(), scratch));
        }));
    }
}
