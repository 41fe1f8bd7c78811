// How sources come to shared memory and become operands there. Two ways: where they are stored as operands are, by
// asynchronous copies that the thread which asked for them transforms in place; else through registers.
#pragma once
#include "async.cuh"
#include "values.cuh"

// A source of CHANNELS channels, stored as TYPE; HOW and RELU: what is done to it while loading; PART: channels that
// are loaded at once, THREADS: of the block, APART: bytes between pixels;
// AGAIN: whether what follows from a thread's place is computed again for every step, for want of registers to keep it in.
template <u32 P, u32 TYPE, u32 HOW, u32 RELU, u32 CHANNELS, u32 PART, u32 THREADS, u32 APART = 16,
          bool AGAIN = false>
struct Loading {
    enum : u32 {
        BYTES = sizeof(typename Element<P>::Type),
        VALUES = 16 / BYTES,
        // Vectors of 16 bytes of a pixel, and what a pixel takes in shared memory: its end keeps neighbours' reads apart.
        VECTORS = PART / VALUES,
        PITCH = PART * BYTES + APART,
        // A thread has the same channels of every pixel that it loads.
        PIXELS = THREADS / VECTORS
    };
    static_assert(THREADS % VECTORS == 0, "threads have channels of their own");
    static constexpr bool ASYNC = Stored<TYPE>::BYTES == BYTES && CHANNELS % VALUES == 0;
    static constexpr bool TRANSFORMS = ASYNC && (HOW != PLAIN || RELU);
    typedef Factors<HOW, VALUES> Kept;

    // This thread; in AGAIN unknown to the compiler as often as it is asked for.
    static INLINE u32 thread() {
        u32 t = threadIdx.x;
#ifndef MLAAN_HOST
        if constexpr (AGAIN) asm volatile("" : "+r"(t));
#endif
        return t;
    }

    // Which pixel and which vector of it is a thread's: those of a pixel are neighbours, so that whole sectors are read, and
    // eight threads that access shared memory together meet no bank twice.
    static INLINE u32 pixel(u32 t) {
        if constexpr (VECTORS == 2) return t / 16 * 8 + t % 8 / 2 * 2 + t / 8 % 2;
        if constexpr (VECTORS == 4) return t / 32 * 8 + t / 8 % 4 + t % 8 / 4 * 4;
        return t / VECTORS;
    }
    static INLINE u32 vector(u32 t) { return t % VECTORS; }
    static INLINE u32 channel(u32 chunk, u32 thread) { return chunk * PART + vector(thread) * VALUES; }

    static INLINE Kept factors(const float *factors, u32 chunk) {
        Kept kept;
        kept.template load_from<CHANNELS>(factors, channel(chunk, threadIdx.x));
        return kept;
    }

    // Whether the thread's l-th pixel of so many is one.
    template <u32 COUNT> static INLINE bool loads(u32 l, u32 thread) {
        return (l + 1) * PIXELS <= COUNT || pixel(thread) + l * PIXELS < COUNT;
    }

    // Asks for, or loads, the thread's vector of a pixel: `element` is that of the pixel's first channel, c the
    // vector's. Not valid
    // are pixels outside of the image. `raw`: where the raw values go, in CORRECTED.
    static INLINE bool load(u8 *to, u8 *raw_to, const void *data, const void *raw, const Kept &kept, u64 element, u32 c,
                            bool valid) {
        valid = valid && c < CHANNELS;
        if constexpr (ASYNC) {
            u64 at = valid ? (element + c) * BYTES : 0;
            copy_async_16(to, (const u8 *)data + at, valid);
            if constexpr (HOW == CORRECTED) copy_async_16(raw_to, (const u8 *)raw + at, valid);
        } else {
            uint4 operands = {0, 0, 0, 0};
            if (valid) {
                Some<VALUES> x = load_some_of<TYPE, VALUES, CHANNELS>(data, element + c, c), r{};
                if constexpr (HOW == CORRECTED) r = load_some_of<TYPE, VALUES, CHANNELS>(raw, element + c, c);
#pragma unroll
                for (u32 k = 0; k < VALUES; k++) x.v[k] = c + k < CHANNELS ? kept.apply(k, x.v[k], r.v[k]) : 0.0f;
                operands = to_operands<P>(x);
                if constexpr (RELU) operands = rectified_operands<P>(operands);
            }
            *(uint4 *)to = operands;
        }
        return valid;
    }

    // Makes operands of what a copy brought, in place; what is not valid is 0.
    static INLINE void transform(u8 *at, const u8 *raw_at, const Kept &kept, bool valid) {
        uint4 operands = *(const uint4 *)at;
        if constexpr (HOW != PLAIN) {
            Some<VALUES> x = load_vector<TYPE, VALUES>(at, 0), r{};
            if constexpr (HOW == CORRECTED) r = load_vector<TYPE, VALUES>(raw_at, 0);
#pragma unroll
            for (u32 k = 0; k < VALUES; k++) x.v[k] = kept.apply(k, x.v[k], r.v[k]);
            operands = to_operands<P>(x);
        }
        if constexpr (RELU) operands = rectified_operands<P>(operands);
        // A choice, not a branch: all of a thread's vectors are under way at once.
        operands = uint4{valid ? operands.x : 0, valid ? operands.y : 0, valid ? operands.z : 0, valid ? operands.w : 0};
        *(uint4 *)at = operands;
    }
};
