// Between types of stored values, and moving averages in half-size floats that are rounded stochastically.
#include "common.cuh"

enum : u32 { THREADS = 256 };

// A thread's eight elements, as [first, count]; none beyond the end.
INLINE u64 own_eight(u64 length, u32 &count) {
    u64 i = ((u64)blockIdx.x * THREADS + threadIdx.x) * 8;
    count = i >= length ? 0 : length - i < 8 ? (u32)(length - i) : 8;
    return i;
}

struct Convert {
    void *target;
    const void *source;
    u64 length;
    u32 to, from;
};

KERNEL(convert, Convert, THREADS) {
    u32 count;
    u64 i = own_eight(a.length, count);
    if (count == 0) return;
    store_some(a.target, a.to, i, count, load_some(a.source, a.from, i, count));
}

INLINE u32 mixed(u32 x) {
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

struct EmaRounded {
    u16 *target;
    const float *source;
    u64 length;
    u32 keys[2];
    // Parts of the target and of the source.
    float kept, added;
};

// t = kept t + added s, to one of the two values beside it: the one farther from 0 for as many of 16 random bits as the result is
// 65536ths of the way there (`Bf16::from_f32_by` of the processor, which gives the same bits).
KERNEL(ema_rounded, EmaRounded, THREADS) {
    u32 count;
    u64 i = own_eight(a.length, count);
    if (count == 0) return;
    Eight t = load_some(a.target, BF16, i, count), s = load_some(a.source, F32, i, count);
#pragma unroll
    for (int k = 0; k < 8; k++) {
        float x = a.kept == 0.0f ? s.v[k] : fmaf(a.kept, t.v[k], a.added * s.v[k]);
        u32 bits = __float_as_uint(x);
        u32 random = mixed(mixed((u32)(i + k) ^ a.keys[0]) ^ a.keys[1]) & 0xffffu;
        bits = x != x ? bits | 0x00400000u : bits + random;
        // Exact: the lower half is empty.
        t.v[k] = __uint_as_float(bits & 0xffff0000u);
    }
    store_some(a.target, BF16, i, count, t);
}
