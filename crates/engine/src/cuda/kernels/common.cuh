// What all kernels share. There is one source for two compilers: NVRTC, and for tests on machines without a GPU
// (MLAAN_HOST) a C++ compiler, behind a header that stands in for CUDA's. No header is included that NVRTC lacks.
//
// Every kernel takes one struct by value; its twin in Rust has the same fields in the same order.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifndef MLAAN_HOST
#define KERNEL(name, Args, threads) \
    extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ Args a)
// The same where so many blocks shall be on a multiprocessor at once.
#define KERNEL_OF(name, Args, threads, blocks) \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ Args a)

// The dynamic shared memory of the block.
__device__ __forceinline__ u8 *shared_memory() {
    extern __shared__ __align__(128) u8 dynamic_shared_bytes[];
    return dynamic_shared_bytes;
}
#else
#define KERNEL_OF(name, Args, threads, blocks) KERNEL(name, Args, threads)
#endif

#define INLINE __device__ __forceinline__

// Types of stored values, as in args.rs.
enum : u32 { F32 = 0, BF16 = 1 };

// Rows of a normalisation [4, c], as in ops/operand.rs.
enum : u32 { SCALE = 0, SHIFT = 1, MEAN = 2, INV_STD = 3 };

// A stored value, normalised and rectified while loading: norm is [4, c] or null.
struct Operand {
    const void *data;
    const float *norm;
    u32 type;
    u32 relu;
};

// A gradient with the backward of a normalisation behind it: grad * a + raw * b + c, coefficients [3, c];
// raw and coefficients are null where there is none.
struct Incoming {
    const void *grad;
    const void *raw;
    const float *coefficients;
    u32 type;
    u32 unused;
};

// Where the gradient of an operand goes. partials: null, or sums for the operand's normalisation,
// [pieces][2][c]: of gradient times normalised value, and of the gradient.
struct Outgoing {
    void *grad;
    float *partials;
    u32 type;
    u32 accumulate;
};

INLINE u32 ceil_div(u32 a, u32 b) { return (a + b - 1) / b; }

INLINE float infinity() { return __uint_as_float(0x7f800000u); }

INLINE float bf16_to_float(u32 bits) { return __uint_as_float(bits << 16); }

// Two values rounded to the nearest, ties to even; the first in the low half.
INLINE u32 floats_to_bf16(float low, float high) {
#ifdef MLAAN_HOST
    auto half = [](float x) -> u32 {
        u32 b = __float_as_uint(x);
        if (x != x) return (b | 0x00400000u) >> 16;
        return (b + 0x7fffu + ((b >> 16) & 1u)) >> 16;
    };
    return half(low) | (half(high) << 16);
#else
    u32 packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
#endif
}

INLINE u16 float_to_bf16(float x) { return (u16)floats_to_bf16(x, 0.0f); }

// A value as it is read back after storing.
INLINE float as_stored(float x, u32 type) { return type == BF16 ? bf16_to_float(float_to_bf16(x)) : x; }

INLINE float load(const void *data, u32 type, u64 i) {
    return type == BF16 ? bf16_to_float(((const u16 *)data)[i]) : ((const float *)data)[i];
}

INLINE void store(void *data, u32 type, u64 i, float x) {
    if (type == BF16) ((u16 *)data)[i] = float_to_bf16(x);
    else ((float *)data)[i] = x;
}

// Eight neighbours: one access of 16 bytes (or two) each.
struct Eight {
    float v[8];
};

// Elements i to i + 7; i is a multiple of 8.
INLINE Eight load_eight(const void *data, u32 type, u64 i) {
    Eight e;
    if (type == BF16) {
        uint4 bits = *(const uint4 *)((const u16 *)data + i);
        u32 words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
        for (int k = 0; k < 4; k++) {
            e.v[2 * k] = __uint_as_float(words[k] << 16);
            e.v[2 * k + 1] = __uint_as_float(words[k] & 0xffff0000u);
        }
    } else {
        const float4 *p = (const float4 *)((const float *)data + i);
        float4 a = p[0], b = p[1];
        e = Eight{{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
    }
    return e;
}

INLINE void store_eight(void *data, u32 type, u64 i, const Eight &e) {
    if (type == BF16) {
        uint4 bits = {floats_to_bf16(e.v[0], e.v[1]), floats_to_bf16(e.v[2], e.v[3]),
                      floats_to_bf16(e.v[4], e.v[5]), floats_to_bf16(e.v[6], e.v[7])};
        *(uint4 *)((u16 *)data + i) = bits;
    } else {
        float4 *p = (float4 *)((float *)data + i);
        p[0] = float4{e.v[0], e.v[1], e.v[2], e.v[3]};
        p[1] = float4{e.v[4], e.v[5], e.v[6], e.v[7]};
    }
}

// As above for the first `count` of eight; the others load as 0.
INLINE Eight load_some(const void *data, u32 type, u64 i, u32 count) {
    if (count == 8) return load_eight(data, type, i);
    Eight e;
#pragma unroll
    for (u32 k = 0; k < 8; k++) e.v[k] = k < count ? load(data, type, i + k) : 0.0f;
    return e;
}

INLINE void store_some(void *data, u32 type, u64 i, u32 count, const Eight &e) {
    if (count == 8) return store_eight(data, type, i, e);
#pragma unroll
    for (u32 k = 0; k < 8; k++)
        if (k < count) store(data, type, i + k, e.v[k]);
}

INLINE float normalised(const float *norm, u32 channels, u32 c, float x) {
    return fmaf(x, norm[SCALE * channels + c], norm[SHIFT * channels + c]);
}

// The greater of x and 0; what is not a number stays so, that it be seen.
INLINE float rectified(float x) {
#ifdef MLAAN_HOST
    return x <= 0.0f ? 0.0f : x;
#else
    float y;
    asm("max.NaN.f32 %0, %1, 0f00000000;" : "=f"(y) : "f"(x));
    return y;
#endif
}

// An operand's value from its stored one.
INLINE float loaded(const Operand &o, u32 channels, u32 c, float x) {
    if (o.norm) x = normalised(o.norm, channels, c, x);
    return o.relu ? rectified(x) : x;
}

// A gradient with its normalisation's backward, from the stored ones.
INLINE float arrived(const Incoming &g, u32 channels, u32 c, float grad, float raw) {
    if (!g.coefficients) return grad;
    return fmaf(grad, g.coefficients[c], fmaf(raw, g.coefficients[channels + c], g.coefficients[2 * channels + c]));
}

// Over the lanes of a warp, each getting the result; the order is the same in every run.
INLINE float warp_sum(float x) {
#pragma unroll
    for (u32 by = 16; by > 0; by /= 2) x += __shfl_xor_sync(0xffffffffu, x, by);
    return x;
}

INLINE float warp_max(float x) {
#pragma unroll
    for (u32 by = 16; by > 0; by /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, by));
    return x;
}
