// Convolution as products of matrices: 128 output pixels x 16, 32 or 64 channels a block. A tile's source pixels are
// loaded once, transformed on the way, and serve all taps; sums per channel are taken before the results leave the
// block. The gradient of the input is the same with source and result exchanged: pixels of the result are taken by
// residue classes of the stride, so that no product is with a zero between pixels.
#include "halo.cuh"

// Columns of eight channels a warp computes; four warps share the pixels.
#ifndef COLUMNS
#define COLUMNS 2
#endif
#ifndef PRODUCT
#define PRODUCT 0
#endif
enum : u32 { THREADS = 128, CHANNELS = 8 * COLUMNS, PITCH = CHANNELS + 4 };

typedef Element<PRODUCT>::Type Operand_t;

struct Convolve {
    Source source;
    // Packed by `pack_weights`.
    const void *weights;
    void *result;
    const float *bias;
    // Forward: [pieces][3][channels], count, mean and squared deviations; null where not wanted.
    float *statistics;
    // Backward: what was in the operand, for its rectifier and its sums.
    Operand operand;
    // Backward: [pieces][2][channels]; null where not wanted.
    float *partials;
    u32 result_type, accumulate;
    Plane plane;
    // Of the result.
    u32 result_h, result_w, result_c;
    u32 kernel, stride, pad, backward;
    // Values of a chunk of source channels, chunks, channels of the packed weights, taps of a class.
    u32 chunk, chunks, packed_c, packed_taps;
    // Rows of taps of a region, taps whose weights are in shared memory at once, tiles of a block.
    u32 tap_rows, tap_group, block_tiles;
};

// An axis of the class of result pixels r, r + stride, ..., backward; of all pixels forward.
INLINE Axis axis_of(const Convolve &a, u32 r, u32 extent) {
    if (!a.backward) return Axis{extent, a.stride, a.kernel, -(int)a.pad};
    u32 first = (r + a.pad) % a.stride;
    u32 taps = first < a.kernel ? ceil_div(a.kernel - first, a.stride) : 0;
    u32 outputs = r < extent ? ceil_div(extent - r, a.stride) : 0;
    return Axis{outputs, 1, taps, (int)((r + a.pad) / a.stride) - (int)taps + 1};
}

// Which row or column of the window tap j of class r is.
INLINE u32 window_tap(u32 backward, u32 kernel, u32 stride, u32 pad, u32 r, u32 taps, u32 j) {
    return backward ? (r + pad) % stride + stride * (taps - 1 - j) : j;
}

struct Pack {
    const float *weights;
    void *packed;
    // Extents of the weights.
    u32 out, in, kernel, stride, pad, backward;
    u32 chunk, chunks, packed_c, packed_taps;
};

// From [out][in][k][k] to [class][tap][chunk][channel of the result][value of the chunk], zeros where there is none.
KERNEL(pack_weights, Pack, 256) {
    u64 i = (u64)blockIdx.x * 256 + threadIdx.x;
    u32 classes = a.backward ? a.stride * a.stride : 1;
    if (i >= (u64)classes * a.packed_taps * a.chunks * a.packed_c * a.chunk) return;
    u32 value = i % a.chunk;
    u64 rest = i / a.chunk;
    u32 n = rest % a.packed_c;
    rest /= a.packed_c;
    u32 k = rest % a.chunks * a.chunk + value;
    rest /= a.chunks;
    u32 tap = rest % a.packed_taps, cls = rest / a.packed_taps;
    u32 rh = cls / a.stride, rw = cls % a.stride, taps_h = a.kernel, taps_w = a.kernel;
    if (a.backward) {
        u32 first_h = (rh + a.pad) % a.stride, first_w = (rw + a.pad) % a.stride;
        taps_h = first_h < a.kernel ? ceil_div(a.kernel - first_h, a.stride) : 0;
        taps_w = first_w < a.kernel ? ceil_div(a.kernel - first_w, a.stride) : 0;
    }
    float w = 0.0f;
    u32 o = a.backward ? k : n, c = a.backward ? n : k;
    if (o < a.out && c < a.in && tap < taps_h * taps_w) {
        u32 kh = window_tap(a.backward, a.kernel, a.stride, a.pad, rh, taps_h, tap / taps_w);
        u32 kw = window_tap(a.backward, a.kernel, a.stride, a.pad, rw, taps_w, tap % taps_w);
        w = a.weights[(((u64)o * a.in + c) * a.kernel + kh) * a.kernel + kw];
    }
    if constexpr (PRODUCT == PRODUCT_BF16) ((u16 *)a.packed)[i] = float_to_bf16(w);
    else ((float *)a.packed)[i] = w;
}

// Weights of taps `tap` to `tap + taps` and a chunk, from channel n0 of the result on: rows of pitch bytes.
INLINE void fill_weights(u8 *to, u32 pitch, const Convolve &a, u32 cls, u32 tap, u32 taps, u32 chunk, u32 n0) {
    u32 bytes = a.chunk * sizeof(Operand_t), vectors = bytes / 16;
    const u8 *packed = (const u8 *)a.weights;
    for (u32 i = threadIdx.x; i < taps * CHANNELS * vectors; i += THREADS) {
        u32 vector = i % vectors, row = i / vectors, n = n0 + row % CHANNELS, t = row / CHANNELS;
        u64 from = (((u64)cls * a.packed_taps + tap + t) * a.chunks + chunk) * a.packed_c + n;
        *(uint4 *)(to + row * pitch + vector * 16) = *(const uint4 *)(packed + from * bytes + vector * 16);
    }
}

// Adds the products of a warp's 32 pixels with the weights of one tap.
INLINE void multiply_tap(Sums (&sums)[2][COLUMNS], const u8 *const (&pixels)[2], const u8 *weights, u32 pitch,
                         u32 bytes) {
    u32 lane = lane_id();
    // Of two columns of eight channels: first half, second half, first half, second half of the bytes.
    const u8 *row = weights + (lane / 16 * 8 + lane % 8) * pitch + lane / 8 % 2 * 16;
    for (u32 k = 0; k < bytes; k += 32) {
        Left left[2];
#pragma unroll
        for (int i = 0; i < 2; i++) read_matrices<4, false>(left[i].r, pixels[i] + k);
#pragma unroll
        for (int j = 0; j < COLUMNS; j += 2) {
            u32 both[4];
            read_matrices<4, false>(both, row + j * 8 * pitch + k);
            Right first = {{both[0], both[1]}}, second = {{both[2], both[3]}};
#pragma unroll
            for (int i = 0; i < 2; i++) {
                multiply<PRODUCT>(sums[i][j], left[i], first);
                multiply<PRODUCT>(sums[i][j + 1], left[i], second);
            }
        }
    }
}

// All products of a tile.
INLINE void multiply_tile(Sums (&sums)[2][COLUMNS], const Convolve &a, const Axis &h, const Axis &w, u32 cls,
                          const Tile &tile, u32 n0) {
    u32 bytes = a.chunk * sizeof(Operand_t), pitch = bytes + 16, lane = lane_id();
    u8 *region = shared_memory();
    for (u32 row = 0; row < h.taps; row += a.tap_rows) {
        u32 rows = min(a.tap_rows, h.taps - row);
        Region r = region_of(a.plane, rows, w.taps);
        u8 *weights = region + r.pixels * pitch;
        const u8 *slots[2];
#pragma unroll
        for (int i = 0; i < 2; i++)
            slots[i] = region + slot_pixel(a.plane, r, threadIdx.x / 32 * 32 + i * 16 + lane % 16) * pitch + lane / 16 * 16;
        for (u32 chunk = 0; chunk < a.chunks; chunk++) {
            __syncthreads();
            fill_region<PRODUCT>(region, pitch, a.plane, r, a.source, h, w, tile, row, chunk * a.chunk, a.chunk);
            for (u32 tap = 0; tap < rows * w.taps; tap += a.tap_group) {
                u32 taps = min(a.tap_group, rows * w.taps - tap);
                if (tap > 0) __syncthreads();
                fill_weights(weights, pitch, a, cls, row * w.taps + tap, taps, chunk, n0);
                __syncthreads();
                for (u32 t = 0; t < taps; t++) {
                    u32 offset = ((tap + t) / w.taps * r.width + (tap + t) % w.taps) * pitch;
                    const u8 *const pixels[2] = {slots[0] + offset, slots[1] + offset};
                    multiply_tap(sums, pixels, weights + t * CHANNELS * pitch, pitch, bytes);
                }
            }
        }
    }
}

// From the warps' sums to rows of shared memory, one a slot.
INLINE void hand_over(float *rows, const Sums (&sums)[2][COLUMNS]) {
    u32 lane = lane_id(), g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float *row = rows + (threadIdx.x / 32 * 32 + i * 16 + g) * PITCH + 2 * t;
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) {
            row[j * 8] = sums[i][j].v[0];
            row[j * 8 + 1] = sums[i][j].v[1];
            row[8 * PITCH + j * 8] = sums[i][j].v[2];
            row[8 * PITCH + j * 8 + 1] = sums[i][j].v[3];
        }
    }
}

// A thread's part of the results: eight channels of every STEP-th slot.
enum : u32 { GROUPS = CHANNELS / 8, STEP = THREADS / GROUPS };

// The pixel of the result that a slot is, or false where it is none.
INLINE bool result_pixel(const Convolve &a, const Axis &h, const Axis &w, u32 rh, u32 rw, const Tile &tile, u32 slot,
                         u64 &pixel) {
    if (slot >= slots_of(a.plane)) return false;
    Tile s = slot_at(a.plane, slot);
    u32 image = tile.image + s.image, row = tile.row + s.row, column = tile.column + s.column;
    if (image >= a.plane.images || row >= h.outputs || column >= w.outputs) return false;
    u32 step = a.backward ? a.stride : 1;
    pixel = ((u64)image * a.result_h + row * step + rh) * a.result_w + column * step + rw;
    return true;
}

// Bias, or the rules of an outgoing gradient: rectifier, rounding, sums. Channels c to c + 7, those beyond the last 0.
INLINE void finish_value(const Convolve &a, Some<8> &v, u64 i, u32 c, bool aligned, float (&totals)[2][8]) {
    const u32 channels = a.result_c;
    auto row = [&](const float *rows, u32 r) {
        return load_channels<8>(rows + r * channels, F32, c, c, channels, aligned);
    };
    if (a.bias) {
        Some<8> bias = load_channels<8>(a.bias, F32, c, c, channels, false);
#pragma unroll
        for (u32 k = 0; k < 8; k++) v.v[k] += bias.v[k];
    }
    if (a.accumulate) {
        Some<8> old = load_channels<8>(a.result, a.result_type, i, c, channels, aligned);
#pragma unroll
        for (u32 k = 0; k < 8; k++) v.v[k] += old.v[k];
    }
    const Operand &o = a.operand;
    if (o.relu || a.partials) {
        Some<8> x = load_channels<8>(o.data, o.type, i, c, channels, aligned);
        if (o.relu) {
            Some<8> value = x;
            if (o.norm) {
                Some<8> scale = row(o.norm, SCALE), shift = row(o.norm, SHIFT);
#pragma unroll
                for (u32 k = 0; k < 8; k++) value.v[k] = fmaf(x.v[k], scale.v[k], shift.v[k]);
            }
#pragma unroll
            for (u32 k = 0; k < 8; k++) v.v[k] = value.v[k] > 0.0f ? v.v[k] : 0.0f;
        }
        if (a.partials) {
            Some<8> mean = row(o.norm, MEAN), inv_std = row(o.norm, INV_STD);
#pragma unroll
            for (u32 k = 0; k < 8; k++) {
                float g = as_stored(v.v[k], a.result_type);
                totals[0][k] += g * ((x.v[k] - mean.v[k]) * inv_std.v[k]);
                totals[1][k] += g;
            }
        }
    }
#pragma unroll
    for (u32 k = 0; k < 8; k++) v.v[k] = as_stored(v.v[k], a.result_type);
}

// Sums over the threads that share channels; all get the results. `room`: THREADS * 8 floats.
INLINE void sum_over_slots(float *room, float (&v)[8]) {
    u32 group = threadIdx.x % GROUPS, row = threadIdx.x / GROUPS;
    __syncthreads();
#pragma unroll
    for (u32 k = 0; k < 8; k++) room[(row * GROUPS + group) * 8 + k] = v[k];
    for (u32 half = STEP / 2; half > 0; half /= 2) {
        __syncthreads();
        if (row < half) {
#pragma unroll
            for (u32 k = 0; k < 8; k++)
                room[(row * GROUPS + group) * 8 + k] += room[((row + half) * GROUPS + group) * 8 + k];
        }
    }
    __syncthreads();
#pragma unroll
    for (u32 k = 0; k < 8; k++) v[k] = room[group * 8 + k];
}

// Adds a tile to count, mean and squared deviations of what a block has seen; the values lie in `rows` as they were
// stored (Chan, Golub and LeVeque 1983).
INLINE void add_moments(float &seen, float (&totals)[2][8], const float *rows, float *room, u32 there) {
    u32 group = threadIdx.x % GROUPS, first = threadIdx.x / GROUPS;
    float count = 0.0f, mean[8] = {0, 0, 0, 0, 0, 0, 0, 0}, deviations[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    float counts[8];
#pragma unroll 1
    for (u32 s = 0; s < SLOTS / STEP; s++) {
        if (!(there >> s & 1)) continue;
        count += 1.0f;
#pragma unroll
        for (u32 k = 0; k < 8; k++) mean[k] += rows[(first + s * STEP) * PITCH + group * 8 + k];
    }
#pragma unroll
    for (u32 k = 0; k < 8; k++) counts[k] = count;
    sum_over_slots(room, counts);
    sum_over_slots(room, mean);
    count = counts[0];
    // Channels beyond the last have none, and still take part in the barriers.
#pragma unroll
    for (u32 k = 0; k < 8; k++) mean[k] /= fmaxf(count, 1.0f);
#pragma unroll 1
    for (u32 s = 0; s < SLOTS / STEP; s++) {
        if (!(there >> s & 1)) continue;
#pragma unroll
        for (u32 k = 0; k < 8; k++) {
            float d = rows[(first + s * STEP) * PITCH + group * 8 + k] - mean[k];
            deviations[k] += d * d;
        }
    }
    sum_over_slots(room, deviations);
    float total = seen + count;
    if (total == 0.0f) return;
#pragma unroll
    for (u32 k = 0; k < 8; k++) {
        float d = mean[k] - totals[0][k];
        totals[0][k] += d * (count / total);
        totals[1][k] += deviations[k] + d * d * (seen * count / total);
    }
    seen = total;
}

// Writes a block's sums: rows [channels] of piece `piece`.
template <int ROWS> INLINE void write_piece(float *to, u32 piece, u32 channels, u32 c, const float (&v)[ROWS][8]) {
    if (threadIdx.x / GROUPS != 0) return;
#pragma unroll
    for (u32 row = 0; row < ROWS; row++)
#pragma unroll
        for (u32 k = 0; k < 8; k++)
            if (c + k < channels) to[((u64)piece * ROWS + row) * channels + c + k] = v[row][k];
}

KERNEL(convolve, Convolve, THREADS) {
    u32 cls = blockIdx.z, rh = cls / a.stride, rw = cls % a.stride, n0 = blockIdx.y * CHANNELS;
    if (!a.backward) rh = rw = 0;
    Axis h = axis_of(a, rh, a.result_h), w = axis_of(a, rw, a.result_w);
    float *rows = (float *)shared_memory(), *room = rows + SLOTS * PITCH;
    u32 c = n0 + threadIdx.x % GROUPS * 8, first = threadIdx.x / GROUPS;
    u32 count = c < a.result_c ? min(8u, a.result_c - c) : 0;
    bool aligned = a.result_c % 8 == 0;
    // Forward: mean and squared deviations of `seen` values; backward: sums for the operand's normalisation.
    float totals[2][8] = {}, seen = 0.0f;
    u32 end = min(a.plane.tiles, (blockIdx.x + 1) * a.block_tiles);
    for (u32 index = blockIdx.x * a.block_tiles; index < end; index++) {
        Tile tile = tile_at(a.plane, index);
        Sums sums[2][COLUMNS] = {};
        multiply_tile(sums, a, h, w, cls, tile, n0);
        __syncthreads();
        hand_over(rows, sums);
        __syncthreads();
        // One bit for each of the thread's slots that are pixels.
        u32 there = 0;
#pragma unroll 1
        for (u32 s = 0; s < SLOTS / STEP; s++) {
            u64 pixel = 0;
            if (!result_pixel(a, h, w, rh, rw, tile, first + s * STEP, pixel) || count == 0) continue;
            there |= 1u << s;
            float *row = rows + (first + s * STEP) * PITCH + (threadIdx.x % GROUPS) * 8;
            u64 i = pixel * a.result_c + c;
            Some<8> v;
#pragma unroll
            for (u32 k = 0; k < 8; k++) v.v[k] = row[k];
            finish_value(a, v, i, c, aligned, totals);
            if (aligned)
                store_eight(a.result, a.result_type, i,
                            Eight{{v.v[0], v.v[1], v.v[2], v.v[3], v.v[4], v.v[5], v.v[6], v.v[7]}});
            else
                for (u32 k = 0; k < count; k++) store(a.result, a.result_type, i + k, v.v[k]);
#pragma unroll
            for (u32 k = 0; k < 8; k++) row[k] = v.v[k];
        }
        if (a.statistics) add_moments(seen, totals, rows, room, there);
    }
    u32 piece = cls * gridDim.x + blockIdx.x;
    if (a.statistics) {
        float v[3][8];
#pragma unroll
        for (u32 k = 0; k < 8; k++) {
            v[0][k] = seen;
            v[1][k] = totals[0][k];
            v[2][k] = totals[1][k];
        }
        write_piece(a.statistics, piece, a.result_c, c, v);
    }
    if (a.partials) {
        sum_over_slots(room, totals[0]);
        sum_over_slots(room, totals[1]);
        write_piece(a.partials, piece, a.result_c, c, totals);
    }
}
