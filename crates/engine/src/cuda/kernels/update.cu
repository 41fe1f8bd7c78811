// Element by element: optimiser and moving averages over many tensors at once, sums, constants.
#include "common.cuh"

// Elements of a block: eight a thread.
enum : u32 { THREADS = 256, PIECE = 8 * THREADS, MOST = 64 };

// Which tensor of a table the block works on, and from where: first[e] is the first block of entry e.
struct Part {
    u32 entry;
    u64 begin;
};

INLINE Part own_part(const u32 *first, u32 count) {
    u32 low = 0, high = count;
    while (high - low > 1) {
        u32 middle = (low + high) / 2;
        if (first[middle] <= blockIdx.x) low = middle;
        else high = middle;
    }
    return Part{low, (u64)(blockIdx.x - first[low]) * PIECE};
}

// step(i, count) for the thread's share of a piece, four neighbours at a time (fewer at the end).
template <class Step> INLINE void each_four(u64 begin, u64 length, Step step) {
#pragma unroll
    for (u32 r = 0; r < PIECE; r += 4 * THREADS) {
        u64 i = begin + r + 4 * threadIdx.x;
        if (i < length) step(i, length - i < 4 ? (u32)(length - i) : 4u);
    }
}

struct Four {
    float v[4];
};

INLINE Four load_four(const float *data, u64 i, u32 count) {
    Four x = {};
    if (count == 4) {
        float4 all = *(const float4 *)(data + i);
        return Four{{all.x, all.y, all.z, all.w}};
    }
#pragma unroll
    for (u32 k = 0; k < 4; k++)
        if (k < count) x.v[k] = data[i + k];
    return x;
}

INLINE void store_four(float *data, u64 i, u32 count, const Four &x) {
    if (count == 4) {
        *(float4 *)(data + i) = float4{x.v[0], x.v[1], x.v[2], x.v[3]};
        return;
    }
#pragma unroll
    for (u32 k = 0; k < 4; k++)
        if (k < count) data[i + k] = x.v[k];
}

struct SgdEntry {
    float *parameter;
    const float *grad;
    float *velocity;
    u64 length;
};

struct SgdMany {
    SgdEntry entries[MOST];
    u32 first[MOST];
    u32 count, blocks;
    float lr, momentum, weight_decay;
    u32 nesterov;
};

// g += wd p; v = m v + g; p -= lr (g + m v), or lr v without Nesterov.
KERNEL(sgd_many, SgdMany, THREADS) {
    Part part = own_part(a.first, a.count);
    const SgdEntry &e = a.entries[part.entry];
    each_four(part.begin, e.length, [&](u64 i, u32 count) {
        Four p = load_four(e.parameter, i, count), g = load_four(e.grad, i, count), v = load_four(e.velocity, i, count);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            float slope = fmaf(a.weight_decay, p.v[k], g.v[k]);
            v.v[k] = fmaf(a.momentum, v.v[k], slope);
            p.v[k] -= a.lr * (a.nesterov ? fmaf(a.momentum, v.v[k], slope) : v.v[k]);
        }
        store_four(e.velocity, i, count, v);
        store_four(e.parameter, i, count, p);
    });
}

struct AdamWEntry {
    float *parameter;
    const float *grad;
    float *moments[2];
    u64 length;
};

struct AdamWMany {
    AdamWEntry entries[MOST];
    u32 first[MOST];
    u32 count, blocks;
    // What decay leaves; lr / (1 - beta1^t); of each moment what is kept and what is added; 1 / sqrt(1 - beta2^t).
    float kept, rate, mean[2], square[2], root, eps;
};

// m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p = kept p - rate m / (root sqrt(v) + eps).
KERNEL(adamw_many, AdamWMany, THREADS) {
    Part part = own_part(a.first, a.count);
    const AdamWEntry &e = a.entries[part.entry];
    each_four(part.begin, e.length, [&](u64 i, u32 count) {
        Four p = load_four(e.parameter, i, count), g = load_four(e.grad, i, count);
        Four m = load_four(e.moments[0], i, count), v = load_four(e.moments[1], i, count);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            m.v[k] = fmaf(a.mean[0], m.v[k], a.mean[1] * g.v[k]);
            v.v[k] = fmaf(a.square[0], v.v[k], a.square[1] * (g.v[k] * g.v[k]));
            p.v[k] = a.kept * p.v[k] - a.rate * m.v[k] / fmaf(a.root, sqrtf(v.v[k]), a.eps);
        }
        store_four(e.moments[0], i, count, m);
        store_four(e.moments[1], i, count, v);
        store_four(e.parameter, i, count, p);
    });
}

struct EmaEntry {
    float *target;
    const float *source;
    u64 length;
};

struct EmaMany {
    EmaEntry entries[MOST];
    u32 first[MOST];
    u32 count, blocks;
    // Parts of the target and of the source.
    float kept, added;
};

KERNEL(ema_many, EmaMany, THREADS) {
    Part part = own_part(a.first, a.count);
    const EmaEntry &e = a.entries[part.entry];
    each_four(part.begin, e.length, [&](u64 i, u32 count) {
        Four t = load_four(e.target, i, count), s = load_four(e.source, i, count);
#pragma unroll
        for (int k = 0; k < 4; k++) t.v[k] = fmaf(a.kept, t.v[k], a.added * s.v[k]);
        store_four(e.target, i, count, t);
    });
}

struct Flat {
    void *target;
    // Not read by fill.
    const void *source;
    u64 length;
    u32 type;
    float value;
};

// A thread's eight elements, as [first, count]; none beyond the end.
INLINE u64 own_eight(u64 length, u32 &count) {
    u64 i = ((u64)blockIdx.x * THREADS + threadIdx.x) * 8;
    count = i >= length ? 0 : length - i < 8 ? (u32)(length - i) : 8;
    return i;
}

KERNEL(add, Flat, THREADS) {
    u32 count;
    u64 i = own_eight(a.length, count);
    if (count == 0) return;
    Eight t = load_some(a.target, a.type, i, count), s = load_some(a.source, a.type, i, count);
#pragma unroll
    for (int k = 0; k < 8; k++) t.v[k] += s.v[k];
    store_some(a.target, a.type, i, count, t);
}

KERNEL(fill, Flat, THREADS) {
    u32 count;
    u64 i = own_eight(a.length, count);
    if (count == 0) return;
    Eight e;
#pragma unroll
    for (int k = 0; k < 8; k++) e.v[k] = a.value;
    store_some(a.target, a.type, i, count, e);
}
