// Operations between images of different extents, and the end of the gradient of such an operation's operand.
#pragma once
#include "channels.cuh"

// Extents of the operand and of the result, and the window of maximum pooling; a twin of that in plane.rs.
struct Plane {
    u32 h, w, result_h, result_w;
    u32 kernel, stride, pad, unused;
};

// A range of lines.
struct Lines {
    u32 from, to;
};

// What is computed from an operand's images: `result`, [n][result_h][result_w][c].
struct Resampling {
    Operand x;
    void *result;
    Plane plane;
    // Values of the result.
    u64 length;
    u32 type, channels, width, unused;
};

// The gradient of such an operand from that of the result.
struct ResamplingGradient {
    Operand x;
    Outgoing dx;
    const void *grad;
    Plane plane;
    Cut cut;
    u32 type, unused;
};

// Computes each value of the result by `Result<W>::at(image, h, w)`: one place and W channels a thread.
template <int W, class Result> INLINE void each_result(const Resampling &a) {
    u64 i = ((u64)blockIdx.x * BLOCK + threadIdx.x) * W;
    if (i >= a.length) return;
    u64 pixel = i / a.channels, line = pixel / a.plane.result_w;
    u32 c = (u32)(i - pixel * a.channels);
    u32 w = (u32)(pixel - line * a.plane.result_w), h = (u32)(line % a.plane.result_h);
    Reader<W> x(a.x, a.channels, c);
    Result result{a.plane, x, a.channels, c};
    store_values<W>(a.result, a.type, i, result.at(line / a.plane.result_h, h, w));
}

// Where channel c of a pixel of the operand lies.
INLINE u64 place(const Plane &plane, u32 channels, u64 image, u32 h, u32 w, u32 c) {
    return ((image * plane.h + h) * plane.w + w) * channels + c;
}

// The same of the result.
INLINE u64 result_place(const Plane &plane, u32 channels, u64 image, u32 h, u32 w, u32 c) {
    return ((image * plane.result_h + h) * plane.result_w + w) * channels + c;
}

// The end of an operand's gradient, at a thread's channels: what is there is added if asked, nothing passes where the
// rectifier gave 0, and sums are of what is stored.
template <int W> struct Ending {
    const Outgoing &out;
    const Reader<W> &x;
    NormSums<W> sums;
    Values<W> sum;

    INLINE Ending(const Outgoing &to, const Operand &of, const Reader<W> &reader, u32 channels, u32 c)
        : out(to), x(reader), sums(to.partials ? of.norm : nullptr, channels, c), sum(zeros<W>()) {}

    INLINE void end(u64 i, Values<W> grad) {
        bool needs_raw = x.relu || out.partials;
        Values<W> raw = needs_raw ? x.raw(i) : zeros<W>();
        Values<W> old = out.accumulate ? load_values<W>(out.grad, out.type, i) : zeros<W>();
#pragma unroll
        for (int k = 0; k < W; k++) {
            float g = as_stored(grad.v[k] + old.v[k], out.type);
            grad.v[k] = !x.relu || x.before_relu(k, raw.v[k]) > 0.0f ? g : 0.0f;
            sum.v[k] += grad.v[k];
        }
        store_values<W>(out.grad, out.type, i, grad);
        if (out.partials) sums.add(grad, raw);
    }

    INLINE void finish(const Operand &of, const Cut &cut, const Share<W> &share) {
        if (!out.partials) return;
        add_rows<W>(sum, cut.across, share.step);
        sums.write(of.norm, out.partials, cut, share, sum);
    }
};

// Gathers the gradient at each pixel of the operand by `Gradient::at(image, h, w)`: no two threads write to one place.
template <int W, class Gradient> INLINE void each_gradient(const ResamplingGradient &a) {
    Share<W> share(a.cut);
    u32 channels = a.cut.channels;
    Reader<W> x(a.x, channels, share.c);
    Gradient gradient{a.plane, x, a.grad, a.type, channels, share.c};
    Ending<W> ending(a.dx, a.x, x, channels, share.c);
    for (u64 p = share.first; p < share.end; p += share.step) {
        u64 line = p / a.plane.w, image = line / a.plane.h;
        u32 w = (u32)(p - line * a.plane.w), h = (u32)(line - image * a.plane.h);
        ending.end(p * channels + share.c, gradient.at(image, h, w));
    }
    ending.finish(a.x, a.cut, share);
}
