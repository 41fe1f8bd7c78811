// Sums per channel over many pixels, and what threads keep of their channels meanwhile.
//
// A block has a piece of the pixels and some channels: `across` threads lie along channels, `width` neighbours each,
// and the others along pixels. How pixels are cut depends on extents alone (sums.rs), and parts are added in order.
#pragma once
#include "common.cuh"

// Threads of a block that takes sums.
enum : u32 { BLOCK = 256 };

// How [pixels][channels] is cut, a twin of that in sums.rs. width is 8 where pixels are multiples of 8 long, else 1.
struct Cut {
    u64 pixels;
    // Pixels of a piece.
    u64 each;
    u32 channels, width, across, unused;
};

// A thread's channels of one pixel.
template <int W> struct Values {
    float v[W];
};

template <int W> INLINE Values<W> zeros() {
    Values<W> r;
#pragma unroll
    for (int k = 0; k < W; k++) r.v[k] = 0.0f;
    return r;
}

// Elements i to i + W - 1; i is a multiple of W.
template <int W> INLINE Values<W> load_values(const void *data, u32 type, u64 i) {
    Values<W> r;
    if constexpr (W == 8) {
        Eight e = load_eight(data, type, i);
#pragma unroll
        for (int k = 0; k < W; k++) r.v[k] = e.v[k];
    } else {
#pragma unroll
        for (int k = 0; k < W; k++) r.v[k] = load(data, type, i + k);
    }
    return r;
}

template <int W> INLINE void store_values(void *data, u32 type, u64 i, const Values<W> &x) {
    if constexpr (W == 8) {
        Eight e;
#pragma unroll
        for (int k = 0; k < W; k++) e.v[k] = x.v[k];
        store_eight(data, type, i, e);
    } else {
#pragma unroll
        for (int k = 0; k < W; k++) store(data, type, i + k, x.v[k]);
    }
}

// A row of a normalisation, at a thread's channels.
template <int W> INLINE Values<W> load_row(const float *norm, u32 row, u32 channels, u32 c) {
    return load_values<W>(norm, F32, (u64)row * channels + c);
}

// An operand at a thread's channels, its normalisation at hand. Where it has none, times 1 plus 0 changes nothing.
template <int W> struct Reader {
    const void *data;
    u32 type, relu;
    Values<W> scale, shift;

    INLINE Reader(const Operand &o, u32 channels, u32 c) : data(o.data), type(o.type), relu(o.relu) {
#pragma unroll
        for (int k = 0; k < W; k++) scale.v[k] = 1.0f, shift.v[k] = 0.0f;
        if (!o.norm || c >= channels) return;
        scale = load_row<W>(o.norm, SCALE, channels, c);
        shift = load_row<W>(o.norm, SHIFT, channels, c);
    }

    INLINE Values<W> raw(u64 i) const { return load_values<W>(data, type, i); }

    INLINE float before_relu(int k, float raw) const { return fmaf(raw, scale.v[k], shift.v[k]); }

    INLINE Values<W> values(u64 i) const {
        Values<W> x = raw(i);
#pragma unroll
        for (int k = 0; k < W; k++) {
            x.v[k] = before_relu(k, x.v[k]);
            if (relu) x.v[k] = rectified(x.v[k]);
        }
        return x;
    }
};

// What a thread does: pixels first, first + step, ... below end, of channels c to c + W - 1.
template <int W> struct Share {
    u32 piece, c, row, step;
    u64 first, end;
    bool active;

    INLINE explicit Share(const Cut &cut) {
        u32 groups = ceil_div(cut.channels, cut.across * W);
        piece = blockIdx.x / groups;
        c = (blockIdx.x % groups * cut.across + threadIdx.x % cut.across) * W;
        row = threadIdx.x / cut.across;
        step = BLOCK / cut.across;
        active = c < cut.channels;
        u64 begin = piece * cut.each;
        end = begin + cut.each < cut.pixels ? begin + cut.each : cut.pixels;
        first = active ? begin + row : end;
    }
};

// Adds up values of threads that are `across` apart, of `count` (a power of two) rows each: the first row's threads
// have the sums. All threads of the block take part.
template <int W> INLINE void add_rows(Values<W> &x, u32 across, u32 count) {
    __shared__ float room[W][BLOCK];
    u32 row = threadIdx.x / across % count;
    __syncthreads();
#pragma unroll
    for (int k = 0; k < W; k++) room[k][threadIdx.x] = x.v[k];
    for (u32 half = count / 2; half > 0; half /= 2) {
        __syncthreads();
        if (row >= half) continue;
#pragma unroll
        for (int k = 0; k < W; k++) {
            x.v[k] += room[k][threadIdx.x + half * across];
            room[k][threadIdx.x] = x.v[k];
        }
    }
}

// The sums that the backward of a normalisation needs, of a thread's pixels.
template <int W> struct NormSums {
    Values<W> mean, product;

    INLINE NormSums(const float *norm, u32 channels, u32 c) : mean(zeros<W>()), product(zeros<W>()) {
        if (norm && c < channels) mean = load_row<W>(norm, MEAN, channels, c);
    }

    INLINE void add(const Values<W> &grad, const Values<W> &raw) {
#pragma unroll
        for (int k = 0; k < W; k++) product.v[k] = fmaf(grad.v[k], raw.v[k] - mean.v[k], product.v[k]);
    }

    // Writes the block's part, partials [pieces][2][c]; sum: of the gradient, added up by add_rows already.
    INLINE void write(const float *norm, float *partials, const Cut &cut, const Share<W> &s, const Values<W> &sum) {
        add_rows<W>(product, cut.across, s.step);
        if (s.row != 0 || !s.active) return;
        Values<W> inv_std = load_row<W>(norm, INV_STD, cut.channels, s.c);
#pragma unroll
        for (int k = 0; k < W; k++) product.v[k] *= inv_std.v[k];
        u64 to = (u64)s.piece * 2 * cut.channels + s.c;
        store_values<W>(partials, F32, to, product);
        store_values<W>(partials, F32, to + cut.channels, sum);
    }
};
