// How the sums of a tile become results: bias or the rules of an outgoing gradient, and sums over channels, piece by piece.
#pragma once
#include "convolution_args.cuh"

// What a lane keeps of its channels over a piece: in STATISTICS a value near the mean, and sums of what is beyond it and
// of the squares; in PARTIALS the sums themselves.
struct Piece {
    float count;
    Some<LANE> pivot, first, second;

    INLINE void begin() { *this = Piece{}; }

    INLINE void see(const Some<LANE> &v) {
        if (count == 0.0f) pivot = v;
        count += 1.0f;
#pragma unroll
        for (u32 k = 0; k < LANE; k++) {
            float d = v.v[k] - pivot.v[k];
            first.v[k] += d;
            second.v[k] = fmaf(d, d, second.v[k]);
        }
    }

    // Adds another's count, means and squared deviations (Chan, Golub and LeVeque 1983).
    INLINE void add(float n, const float (&mean)[LANE], const float (&deviations)[LANE]) {
        float total = count + n;
        if (total == 0.0f) return;
        float share = n / total;
#pragma unroll
        for (u32 k = 0; k < LANE; k++) {
            float d = mean[k] - first.v[k];
            first.v[k] = fmaf(d, share, first.v[k]);
            second.v[k] += deviations[k] + d * d * (count * share);
        }
        count = total;
    }

    // Over the eight lanes that have the same channels, from c on.
    INLINE void over_lanes(const Convolution &a, u32 c) {
        if constexpr (PARTIALS) {
            Some<LANE> inv_std = load_some_of<F32, LANE, RESULT_C>(a.norm, INV_STD * RESULT_C + c, c);
#pragma unroll
            for (u32 k = 0; k < LANE; k++) first.v[k] *= inv_std.v[k];
        }
        if constexpr (STATISTICS) {
#pragma unroll
            for (u32 k = 0; k < LANE; k++) {
                float mean = count == 0.0f ? 0.0f : first.v[k] / count;
                second.v[k] = fmaxf(second.v[k] - first.v[k] * mean, 0.0f);
                first.v[k] = pivot.v[k] + mean;
            }
        }
#pragma unroll
        for (u32 by = 4; by < 32; by *= 2) {
            float n = __shfl_xor_sync(0xffffffffu, count, by), one[LANE], two[LANE];
#pragma unroll
            for (u32 k = 0; k < LANE; k++) {
                one[k] = __shfl_xor_sync(0xffffffffu, first.v[k], by);
                two[k] = __shfl_xor_sync(0xffffffffu, second.v[k], by);
            }
            combine(n, one, two);
        }
    }

    INLINE void combine(float n, const float (&one)[LANE], const float (&two)[LANE]) {
        if constexpr (STATISTICS) {
            add(n, one, two);
        } else {
#pragma unroll
            for (u32 k = 0; k < LANE; k++) first.v[k] += one[k], second.v[k] += two[k];
        }
    }
};

enum : u32 { ROOM_BYTES = SUMS ? WARPS_M * 3 * CHANNELS * 4 : 0 };

// Ends a piece: the sums of all warps, in their order, to memory. The first row's warps do it.
INLINE void write_piece(const Convolution &a, float *room, Piece &piece, u32 index) {
    u32 lane = lane_id(), warp = threadIdx.x / 32, m = warp % WARPS_M, own = warp / WARPS_M * WARP_CHANNELS + lane % 4 * LANE;
    piece.over_lanes(a, blockIdx.y * CHANNELS + own);
    __syncthreads();
    if (lane < 4) {
        float *to = room + m * 3 * CHANNELS + own;
#pragma unroll
        for (u32 k = 0; k < LANE; k++)
            to[k] = piece.count, to[CHANNELS + k] = piece.first.v[k], to[2 * CHANNELS + k] = piece.second.v[k];
    }
    __syncthreads();
    if (m == 0 && lane < 4) {
        for (u32 i = 1; i < WARPS_M; i++) {
            const float *from = room + i * 3 * CHANNELS + own;
            float one[LANE], two[LANE];
#pragma unroll
            for (u32 k = 0; k < LANE; k++) one[k] = from[CHANNELS + k], two[k] = from[2 * CHANNELS + k];
            piece.combine(from[0], one, two);
        }
        u32 c = blockIdx.y * CHANNELS + own;
        float *to = a.sums + (u64)index * SUMS * RESULT_C;
        Some<LANE> counts;
#pragma unroll
        for (u32 k = 0; k < LANE; k++) counts.v[k] = piece.count;
        if constexpr (STATISTICS) store_some_of<F32, LANE, RESULT_C>(to, c, c, counts);
        store_some_of<F32, LANE, RESULT_C>(to, (SUMS - 2) * RESULT_C + c, c, piece.first);
        store_some_of<F32, LANE, RESULT_C>(to, (SUMS - 1) * RESULT_C + c, c, piece.second);
    }
    piece.begin();
}

// What the end of a result needs of its channels. It is read again for every tile: registers are for sums meanwhile.
struct Ends {
    Some<LANE> bias, scale, shift, mean;

    INLINE void load_from(const Convolution &a, u32 c) {
        auto row = [&](u32 r) { return load_some_of<F32, LANE, RESULT_C>(a.norm, r * RESULT_C + c, c); };
        if constexpr (BIAS) bias = load_some_of<F32, LANE, RESULT_C>(a.bias, c, c);
        if constexpr (OPERAND_RELU && OPERAND_NORM) scale = row(SCALE), shift = row(SHIFT);
        if constexpr (PARTIALS) mean = row(MEAN);
    }
};

// What is there already of a result, as it is stored: the operand, and the gradient that is added to.
struct There {
    Packed<OPERAND_TYPE, LANE> operand;
    Packed<RESULT_TYPE, LANE> old;
};

// Bias; or the rules of an outgoing gradient: accumulation, rectifier, rounding, sums.
INLINE void end_result(const Convolution &a, const Ends &e, Piece &piece, const There &there, Some<LANE> v, u64 i, u32 c) {
    Some<LANE> x;
    if constexpr (OPERAND_RELU || PARTIALS) x = there.operand.values();
    if constexpr (ACCUMULATE) {
        Some<LANE> old = there.old.values();
#pragma unroll
        for (u32 k = 0; k < LANE; k++) v.v[k] += old.v[k];
    }
#pragma unroll
    for (u32 k = 0; k < LANE; k++) {
        if constexpr (BIAS) v.v[k] += e.bias.v[k];
        if constexpr (OPERAND_RELU) {
            float value = OPERAND_NORM ? fmaf(x.v[k], e.scale.v[k], e.shift.v[k]) : x.v[k];
            v.v[k] = value > 0.0f ? v.v[k] : 0.0f;
        }
        if constexpr (SUMS) v.v[k] = as_stored(v.v[k], RESULT_TYPE);
        if constexpr (PARTIALS) {
            piece.first.v[k] = fmaf(v.v[k], x.v[k] - e.mean.v[k], piece.first.v[k]);
            piece.second.v[k] += v.v[k];
        }
    }
    if constexpr (STATISTICS) piece.see(v);
    store_some_of<RESULT_TYPE, LANE, RESULT_C>(a.result, i, c, v);
}

// The results of a tile in class (rh, rw), from the warps' sums.
INLINE void end_tile(const Convolution &a, Piece &piece, const Tiles &sums, u32 tile, u32 rh, u32 rw) {
    u32 thread = Source::thread(), lane = thread % 32, warp = thread / 32;
    u32 c = blockIdx.y * CHANNELS + warp / WARPS_M * WARP_CHANNELS + lane % 4 * LANE;
    if (RESULT_C % CHANNELS != 0 && c >= RESULT_C) return;
    Ends e;
    e.load_from(a, c);
    Results results(tile);
    u64 first = results.pixel * RESULT_C + c;
    u32 at[TILES_M * 2];
    bool is[TILES_M * 2];
    There there[TILES_M * 2];
    // What is read is asked for at once, and used when all of it is under way.
#pragma unroll
    for (u32 r = 0; r < TILES_M * 2; r++) {
        u32 slot = (warp % WARPS_M * TILES_M + r / 2) * 16 + r % 2 * 8 + lane / 4;
        is[r] = results.at<SLOTS>(slot, rh, rw, a.images, at[r]);
        u64 from = is[r] ? first + at[r] * RESULT_C : 0;
        if constexpr (OPERAND_RELU || PARTIALS) there[r].operand.template read<RESULT_C>(a.operand, from, is[r] ? c : 0);
        if constexpr (ACCUMULATE) there[r].old.template read<RESULT_C>(a.result, from, is[r] ? c : 0);
    }
#pragma unroll
    for (u32 r = 0; r < TILES_M * 2; r++) {
        if (!is[r]) continue;
        Some<LANE> v;
#pragma unroll
        for (u32 k = 0; k < LANE; k++) v.v[k] = sums[r / 2][k / 2].v[r % 2 * 2 + k % 2];
        end_result(a, e, piece, there[r], v, first + at[r] * RESULT_C, c);
    }
}
