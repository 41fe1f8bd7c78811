// The sum at the end of a residual block, and its gradient, in place.
#include "channels.cuh"

struct Add {
    // b: its data null for none.
    Operand a, b;
    void *out;
    u64 length;
    u32 type, channels, relu, unused;
};

// Values i to i + 7, or `count` of them: neighbours in memory, whatever pixels they are of.
INLINE Eight operand_eight(const Operand &o, u32 channels, u64 i, u32 count) {
    Eight x = load_some(o.data, o.type, i, count);
    u32 c = (u32)(i % channels);
    if (o.norm && channels % 8 == 0) {
        Eight scale = load_eight(o.norm, F32, SCALE * (u64)channels + c);
        Eight shift = load_eight(o.norm, F32, SHIFT * (u64)channels + c);
#pragma unroll
        for (int k = 0; k < 8; k++) x.v[k] = fmaf(x.v[k], scale.v[k], shift.v[k]);
    } else if (o.norm) {
#pragma unroll
        for (int k = 0; k < 8; k++) {
            x.v[k] = normalised(o.norm, channels, c, x.v[k]);
            c = c + 1 == channels ? 0 : c + 1;
        }
    }
    if (o.relu) {
#pragma unroll
        for (int k = 0; k < 8; k++) x.v[k] = rectified(x.v[k]);
    }
    return x;
}

INLINE void add_eight(const Add &a) {
    u64 i = ((u64)blockIdx.x * BLOCK + threadIdx.x) * 8;
    if (i >= a.length) return;
    u32 count = a.length - i < 8 ? (u32)(a.length - i) : 8;
    Eight x = operand_eight(a.a, a.channels, i, count);
    if (a.b.data) {
        Eight y = operand_eight(a.b, a.channels, i, count);
#pragma unroll
        for (int k = 0; k < 8; k++) x.v[k] += y.v[k];
    }
    if (a.relu) {
#pragma unroll
        for (int k = 0; k < 8; k++) x.v[k] = rectified(x.v[k]);
    }
    store_some(a.out, a.type, i, count, x);
}

// Arguments with what is known when a kernel is compiled for one shape (add.rs) put in its place: no branch on a type
// and no division is left.
#ifdef CHANNELS
INLINE Operand known(Operand o, u32 type, u32 norm, u32 relu) {
    o.type = type, o.relu = relu;
    if (!norm) o.norm = nullptr;
    return o;
}

INLINE Add known(Add a) {
    a.a = known(a.a, TYPE_A, NORM_A, RELU_A), a.b = known(a.b, TYPE_B, NORM_B, RELU_B);
    if (!SECOND) a.b.data = nullptr;
    a.type = TYPE, a.channels = CHANNELS, a.relu = RELU;
    return a;
}
#else
template <class Args> INLINE const Args &known(const Args &a) { return a; }
#endif

KERNEL(add, Add, BLOCK) { add_eight(known(a)); }

struct AddGradient {
    void *grad;
    // Null where the sum was not rectified.
    const void *out;
    Operand parts[2];
    // [pieces][2][c] for each part, null where its sums are not wanted.
    float *partials[2];
    Cut cut;
    u32 type, unused;
};

template <int W> INLINE void join_gradient_of(const AddGradient &a) {
    Share<W> share(a.cut);
    u32 channels = a.cut.channels;
    const float *first = a.partials[0] ? a.parts[0].norm : nullptr;
    const float *second = a.partials[1] ? a.parts[1].norm : nullptr;
    NormSums<W> of_first(first, channels, share.c), of_second(second, channels, share.c);
    Values<W> sum = zeros<W>();
    for (u64 p = share.first; p < share.end; p += share.step) {
        u64 i = p * channels + share.c;
        Values<W> g = load_values<W>(a.grad, a.type, i);
        if (a.out) {
            Values<W> y = load_values<W>(a.out, a.type, i);
#pragma unroll
            for (int k = 0; k < W; k++) g.v[k] = y.v[k] > 0.0f ? g.v[k] : 0.0f;
        }
#pragma unroll
        for (int k = 0; k < W; k++) sum.v[k] += g.v[k];
        if (first) of_first.add(g, load_values<W>(a.parts[0].data, a.type, i));
        if (second) of_second.add(g, load_values<W>(a.parts[1].data, a.type, i));
        if (a.out) store_values<W>(a.grad, a.type, i, g);
    }
    if (!first && !second) return;
    add_rows<W>(sum, a.cut.across, share.step);
    if (first) of_first.write(first, a.partials[0], a.cut, share, sum);
    if (second) of_second.write(second, a.partials[1], a.cut, share, sum);
}

INLINE void join_gradient_by_width(const AddGradient &a) {
    if (a.cut.width == 8) join_gradient_of<8>(a);
    else join_gradient_of<1>(a);
}

#ifdef CHANNELS
INLINE AddGradient known(AddGradient a) {
    if (!NORM_A) a.partials[0] = nullptr;
    if (!NORM_B) a.partials[1] = nullptr;
    if (!RELU) a.out = nullptr;
    a.type = TYPE, a.cut.channels = CHANNELS, a.cut.width = WIDTH, a.cut.across = ACROSS;
    return a;
}
#endif

KERNEL(add_gradient, AddGradient, BLOCK) { join_gradient_by_width(known(a)); }
