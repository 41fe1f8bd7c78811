// Neighbouring stored values of a type that is known when the kernel is compiled, and what is done to them while loading.
#pragma once
#include "tensor_core.cuh"

template <u32 T> struct Stored {
    enum : u32 { BYTES = 4 };
};
template <> struct Stored<BF16> {
    enum : u32 { BYTES = 2 };
};

template <u32 N> struct Some {
    float v[N];
};

// The greater of each half and 0; what is not a number stays so.
INLINE u32 rectified_bf16(u32 pair) {
#ifdef MLAAN_HOST
    auto half = [](u32 bits) -> u32 { return (bits & 0x8000u) && (bits & 0x7fffu) <= 0x7f80u ? 0u : bits; };
    return half(pair & 0xffffu) | (half(pair >> 16) << 16);
#else
    u32 result;
    asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(result) : "r"(pair), "r"(0u));
    return result;
#endif
}

INLINE void unpack(u32 pair, float &low, float &high) {
    low = __uint_as_float(pair << 16);
    high = __uint_as_float(pair & 0xffff0000u);
}

// N values (4 or 8) from element i on, which is a multiple of N.
template <u32 T, u32 N> INLINE Some<N> load_vector(const void *data, u64 i) {
    Some<N> s;
    if constexpr (T == BF16 && N == 8) {
        uint4 bits = *(const uint4 *)((const u16 *)data + i);
        u32 words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
        for (u32 k = 0; k < 4; k++) unpack(words[k], s.v[2 * k], s.v[2 * k + 1]);
    } else if constexpr (T == BF16) {
        uint2 bits = *(const uint2 *)((const u16 *)data + i);
        unpack(bits.x, s.v[0], s.v[1]);
        unpack(bits.y, s.v[2], s.v[3]);
    } else {
#pragma unroll
        for (u32 k = 0; k < N; k += 4) {
            float4 e = *(const float4 *)((const float *)data + i + k);
            s.v[k] = e.x, s.v[k + 1] = e.y, s.v[k + 2] = e.z, s.v[k + 3] = e.w;
        }
    }
    return s;
}

// One store of 8 or 16 bytes. Left to itself, NVIDIA's compiler stores what it has just converted word by word.
INLINE void store_words(void *to, u32 a, u32 b) {
#ifdef MLAAN_HOST
    *(u64 *)to = a | (u64)b << 32;
#else
    asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)), "r"(a), "r"(b) : "memory");
#endif
}
INLINE void store_words(void *to, u32 a, u32 b, u32 c, u32 d) {
#ifdef MLAAN_HOST
    *(uint4 *)to = uint4{a, b, c, d};
#else
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "r"(a), "r"(b), "r"(c), "r"(d)
                 : "memory");
#endif
}

template <u32 T, u32 N> INLINE void store_vector(void *data, u64 i, const Some<N> &s) {
    u8 *to = (u8 *)data + i * Stored<T>::BYTES;
    if constexpr (T == BF16 && N == 8) {
        store_words(to, floats_to_bf16(s.v[0], s.v[1]), floats_to_bf16(s.v[2], s.v[3]), floats_to_bf16(s.v[4], s.v[5]),
                    floats_to_bf16(s.v[6], s.v[7]));
    } else if constexpr (T == BF16) {
        store_words(to, floats_to_bf16(s.v[0], s.v[1]), floats_to_bf16(s.v[2], s.v[3]));
    } else {
#pragma unroll
        for (u32 k = 0; k < N; k += 4)
            store_words(to + k * 4, __float_as_uint(s.v[k]), __float_as_uint(s.v[k + 1]), __float_as_uint(s.v[k + 2]),
                        __float_as_uint(s.v[k + 3]));
    }
}

// The same where pixels are `END` channels long, of which those from c on are wanted; beyond the last they are 0.
template <u32 T, u32 N, u32 END> INLINE Some<N> load_some_of(const void *data, u64 i, u32 c) {
    if constexpr (END % N == 0) {
        if (c < END) return load_vector<T, N>(data, i);
        return Some<N>{};
    } else {
        Some<N> s;
#pragma unroll
        for (u32 k = 0; k < N; k++) s.v[k] = c + k < END ? load(data, T, i + k) : 0.0f;
        return s;
    }
}

template <u32 T, u32 N, u32 END> INLINE void store_some_of(void *data, u64 i, u32 c, const Some<N> &s) {
    if constexpr (END % N == 0) {
        if (c < END) store_vector<T, N>(data, i, s);
    } else {
#pragma unroll
        for (u32 k = 0; k < N; k++)
            if (c + k < END) store(data, T, i + k, s.v[k]);
    }
}

// N values as they are stored: half the registers where they are of 16 bits.
template <u32 T, u32 N> struct Packed {
    enum : u32 { WORDS = N * Stored<T>::BYTES / 4 };
    u32 words[WORDS];

    // Channels c on of pixels that are `END` long, from element i on; beyond the last 0.
    template <u32 END> INLINE void read(const void *data, u64 i, u32 c) {
        const u8 *from = (const u8 *)data + i * Stored<T>::BYTES;
        if constexpr (END % N == 0 && WORDS % 4 == 0) {
#pragma unroll
            for (u32 k = 0; k < WORDS; k += 4) {
                uint4 w = *(const uint4 *)(from + k * 4);
                words[k] = w.x, words[k + 1] = w.y, words[k + 2] = w.z, words[k + 3] = w.w;
            }
        } else if constexpr (END % N == 0) {
            uint2 w = *(const uint2 *)from;
            words[0] = w.x, words[1] = w.y;
        } else {
            Some<N> s = load_some_of<T, N, END>(data, i, c);
#pragma unroll
            for (u32 k = 0; k < WORDS; k++)
                words[k] = T == BF16 ? floats_to_bf16(s.v[2 * k], s.v[2 * k + 1]) : __float_as_uint(s.v[k]);
        }
    }

    INLINE Some<N> values() const {
        Some<N> s;
#pragma unroll
        for (u32 k = 0; k < WORDS; k++) {
            if constexpr (T == BF16) unpack(words[k], s.v[2 * k], s.v[2 * k + 1]);
            else s.v[k] = __uint_as_float(words[k]);
        }
        return s;
    }
};

// How a source becomes an operand: not at all, value * f[0] + f[1], or value * f[0] + raw * f[1] + f[2].
enum : u32 { PLAIN = 0, SCALED = 1, CORRECTED = 2 };

// Factors of N channels, [FACTORS][channels] in memory.
template <u32 HOW, u32 N> struct Factors {
    Some<N> f[HOW == PLAIN ? 1 : HOW + 1];

    template <u32 END> INLINE void load_from(const float *factors, u32 c) {
        if constexpr (HOW != PLAIN) {
#pragma unroll
            for (u32 row = 0; row < HOW + 1; row++) f[row] = load_some_of<F32, N, END>(factors, row * END + c, c);
        }
    }

    INLINE float apply(u32 k, float x, float raw) const {
        if constexpr (HOW == SCALED) return fmaf(x, f[0].v[k], f[1].v[k]);
        if constexpr (HOW == CORRECTED) return fmaf(x, f[0].v[k], fmaf(raw, f[1].v[k], f[2].v[k]));
        return x;
    }
};

// 16 bytes of operands from as many values.
template <u32 P, u32 N> INLINE uint4 to_operands(const Some<N> &s) {
    if constexpr (P == PRODUCT_BF16)
        return uint4{floats_to_bf16(s.v[0], s.v[1]), floats_to_bf16(s.v[2], s.v[3]), floats_to_bf16(s.v[4], s.v[5]),
                     floats_to_bf16(s.v[6], s.v[7])};
    else
        return uint4{__float_as_uint(s.v[0]), __float_as_uint(s.v[1]), __float_as_uint(s.v[2]), __float_as_uint(s.v[3])};
}

template <u32 P> INLINE uint4 rectified_operands(uint4 x) {
    u32 w[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (u32 k = 0; k < 4; k++)
        w[k] = P == PRODUCT_BF16 ? rectified_bf16(w[k]) : __float_as_uint(rectified(__uint_as_float(w[k])));
    return uint4{w[0], w[1], w[2], w[3]};
}
