//! Windows of convolutions and pooling.

/// A square window: convolution or pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conv2dParams {
    /// Side of the window.
    pub kernel: usize,
    /// Step between windows.
    pub stride: usize,
    /// Border added on each side.
    pub pad: usize,
}

impl Conv2dParams {
    /// A window that keeps (stride 1) or divides (stride 2…) the size: border (kernel - 1) / 2.
    pub fn same(kernel: usize, stride: usize) -> Self {
        Conv2dParams { kernel, stride, pad: (kernel - 1) / 2 }
    }

    /// Size of the output for an input size; 0 when the window does not fit.
    pub fn output(&self, input: usize) -> usize {
        let padded = self.pad.checked_mul(2).and_then(|p| p.checked_add(input));
        match padded.and_then(|p| p.checked_sub(self.kernel)) {
            Some(room) if self.stride > 0 => room / self.stride + 1,
            _ => 0,
        }
    }
}
