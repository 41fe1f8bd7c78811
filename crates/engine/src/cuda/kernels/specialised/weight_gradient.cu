// The gradient of a convolution's weights, with everything known but the number of images: for every tap, gradient of
// the result (transposed) times source, summed over all pixels. A block has some output and input channels, a group of
// taps and a part of the tiles; its sums stay in registers to the end, while the next tiles are copied to shared memory.
// Parts are added in order by `add_parts`.
#include "geometry.cuh"
#include "loading.cuh"

// Defined by the launcher (specialised/weight_gradient.rs); here as the editor's example.
#ifndef WARPS_OUT
#define PRODUCT 0
#define SOURCE_TYPE 1
#define SOURCE_HOW 1
#define SOURCE_RELU 1
#define GRADIENT_TYPE 1
#define GRADIENT_HOW 2
#define TAPS 9
#define SLOTS 128
#define WARPS_OUT 1
#define WARPS_IN 1
#define WARPS_PIXELS 8
#define TILES_OUT 1
#define TILES_IN 2
#define STAGES 2
#define BLOCKS 2
#endif

enum : u32 {
    THREADS = 32 * WARPS_OUT * WARPS_IN * WARPS_PIXELS,
    OUT = 16 * WARPS_OUT * TILES_OUT,
    IN = 8 * WARPS_IN * TILES_IN,
    BLOCKS_IN = (SOURCE_C + IN - 1) / IN,
    // Rows end so that the transposed reads of a warp meet no bank twice.
    APART = PRODUCT == PRODUCT_BF16 ? 16 : 32,
    SOURCE_APART = IN * sizeof(Element<PRODUCT>::Type) == 16 ? 0 : APART,
    // Pixels of one product.
    DEPTH = PRODUCT == PRODUCT_BF16 ? 16 : 8,
    // Where a warp's sums leave few registers.
    AGAIN = TAPS * TILES_OUT * TILES_IN > 18
};
static_assert(TILE_PIXELS <= SLOTS && !BACKWARD, "a tile fits a block");

typedef Loading<PRODUCT, SOURCE_TYPE, SOURCE_HOW, SOURCE_RELU, SOURCE_C, IN, THREADS, SOURCE_APART, AGAIN> Source;
typedef Loading<PRODUCT, GRADIENT_TYPE, GRADIENT_HOW, 0, RESULT_C, OUT, THREADS, APART, AGAIN> Gradient;
typedef Region<ALL> R;

struct WeightGradient {
    const void *source;
    const float *source_factors;
    const void *gradient, *raw;
    const float *gradient_factors;
    // [parts][WINDOW_TAPS][RESULT_C][SOURCE_C]
    float *parts;
    u32 images, tiles;
    // Tiles of a block.
    u32 each, unused;
};

enum : u32 {
    GRADIENT_BYTES = SLOTS * Gradient::PITCH,
    GRADIENTS = (GRADIENT_HOW == CORRECTED && Gradient::ASYNC ? 2 : 1) * GRADIENT_BYTES,
    STAGE = GRADIENTS + R::PIXELS * Source::PITCH,
    LOADS = (R::LOADED + Source::PIXELS - 1) / Source::PIXELS,
    GRADIENT_LOADS = (SLOTS + Gradient::PIXELS - 1) / Gradient::PIXELS
};
static_assert(LOADS + GRADIENT_LOADS <= 64, "one bit for each vector of a thread");

// What a thread keeps while loading.
struct Kept {
    typename Source::Kept source;
    typename Gradient::Kept gradient;
};

// Asks for a tile; one bit for each vector that is valid: the source's, then the gradient's.
INLINE u64 ask(u8 *stage, const WeightGradient &a, const Kept &kept, u32 tile) {
    u64 valid = 0;
    Corner corner = R::corner(tile);
    Results results(tile);
    u64 first = (u64)corner.pixel * SOURCE_C, first_result = results.pixel * RESULT_C;
    u32 thread = Source::thread();
    u32 c = Source::channel(blockIdx.y % BLOCKS_IN, thread), o = Gradient::channel(blockIdx.y / BLOCKS_IN, thread);
    u8 *region = stage + GRADIENTS;
#pragma unroll
    for (u32 l = 0; l < LOADS; l++) {
        u32 i = Source::pixel(thread) + l * Source::PIXELS, pixel;
        if (!Source::template loads<R::LOADED>(l, thread)) break;
        bool inside = R::source(corner, i, a.images, pixel);
        u8 *to = region + R::position(i) * Source::PITCH + Source::vector(thread) * 16;
        inside = Source::load(to, nullptr, a.source, nullptr, kept.source, first + pixel * SOURCE_C, c, inside);
        valid |= (u64)inside << l;
    }
#pragma unroll
    for (u32 l = 0; l < GRADIENT_LOADS; l++) {
        u32 i = Gradient::pixel(thread) + l * Gradient::PIXELS, pixel;
        if (!Gradient::template loads<SLOTS>(l, thread)) break;
        bool inside = results.at<SLOTS>(i, 0, 0, a.images, pixel);
        u8 *to = stage + i * Gradient::PITCH + Gradient::vector(thread) * 16;
        inside = Gradient::load(to, to + GRADIENT_BYTES, a.gradient, a.raw, kept.gradient, first_result + pixel * RESULT_C, o,
                                inside);
        valid |= (u64)inside << (LOADS + l);
    }
    return valid;
}

// Makes operands of what this thread's copies brought.
INLINE void transform(u8 *stage, const Kept &kept, u64 valid) {
    u32 thread = Source::thread();
    if constexpr (Source::TRANSFORMS) {
#pragma unroll
        for (u32 l = 0; l < LOADS; l++) {
            if (!Source::template loads<R::LOADED>(l, thread)) break;
            u32 i = Source::pixel(thread) + l * Source::PIXELS;
            u8 *at = stage + GRADIENTS + R::position(i) * Source::PITCH + Source::vector(thread) * 16;
            Source::transform(at, nullptr, kept.source, valid >> l & 1);
        }
    }
    if constexpr (Gradient::TRANSFORMS) {
#pragma unroll
        for (u32 l = 0; l < GRADIENT_LOADS; l++) {
            if (!Gradient::template loads<SLOTS>(l, thread)) break;
            u32 i = Gradient::pixel(thread) + l * Gradient::PIXELS;
            u8 *at = stage + i * Gradient::PITCH + Gradient::vector(thread) * 16;
            Gradient::transform(at, at + GRADIENT_BYTES, kept.gradient, valid >> (LOADS + l) & 1);
        }
    }
}

// Output channels x pixels from rows of pixels: channels from byte `column` on of the pixels from `slot` on.
INLINE Left read_left(const u8 *rows, u32 slot, u32 column) {
    Left left;
    u32 lane = lane_id();
    if constexpr (PRODUCT == PRODUCT_BF16) {
        read_matrices<4, true>(left.r, rows + (slot + lane / 16 * 8 + lane % 8) * Gradient::PITCH + column + lane / 8 % 2 * 16);
    } else {
        const u8 *at = rows + (slot + lane % 4) * Gradient::PITCH + column + lane / 4 * 4;
        left.r[0] = *(const u32 *)at;
        left.r[1] = *(const u32 *)(at + 32);
        left.r[2] = *(const u32 *)(at + 4 * Gradient::PITCH);
        left.r[3] = *(const u32 *)(at + 4 * Gradient::PITCH + 32);
    }
    return left;
}

// Pixels x input channels, for the tiles of a warp. `at`: of this lane's pixel (and, for 32-bit values, of the one four
// on) under the tap.
INLINE void read_right(Right (&right)[TILES_IN], const u8 *const (&at)[2], u32 offset) {
    u32 lane = lane_id();
    if constexpr (PRODUCT == PRODUCT_BF16 && TILES_IN % 2 == 0) {
#pragma unroll
        for (u32 j = 0; j < TILES_IN; j += 2) {
            u32 both[4];
            read_matrices<4, true>(both, at[0] + offset + j * 16 + lane / 16 * 16);
            right[j] = Right{{both[0], both[1]}};
            right[j + 1] = Right{{both[2], both[3]}};
        }
    } else if constexpr (PRODUCT == PRODUCT_BF16) {
#pragma unroll
        for (u32 j = 0; j < TILES_IN; j++) read_matrices<2, true>(right[j].r, at[0] + offset + j * 16);
    } else {
#pragma unroll
        for (u32 j = 0; j < TILES_IN; j++) {
            right[j].r[0] = *(const u32 *)(at[0] + offset + j * 32 + lane / 4 * 4);
            right[j].r[1] = *(const u32 *)(at[1] + offset + j * 32 + lane / 4 * 4);
        }
    }
}

typedef Sums Tiles[TAPS][TILES_OUT][TILES_IN];

// Adds the products of a tile.
INLINE void multiply_tile(Tiles &sums, const u8 *stage, const u32 (&offsets)[TAPS], u32 warp_out, u32 warp_in, u32 warp_pixels) {
    const u8 *region = stage + GRADIENTS + warp_in * TILES_IN * 8 * Source::BYTES;
    u32 mine = PRODUCT == PRODUCT_BF16 ? lane_id() % 16 : lane_id() % 4;
#pragma unroll 1
    for (u32 slot = warp_pixels * DEPTH; slot < SLOTS; slot += WARPS_PIXELS * DEPTH) {
        Left left[TILES_OUT];
#pragma unroll
        for (u32 i = 0; i < TILES_OUT; i++) left[i] = read_left(stage, slot, (warp_out * TILES_OUT + i) * 16 * Source::BYTES);
        const u8 *const at[2] = {region + R::slot(slot + mine) * Source::PITCH,
                                 PRODUCT == PRODUCT_BF16 ? region : region + R::slot(slot + mine + 4) * Source::PITCH};
#pragma unroll
        for (u32 t = 0; t < TAPS; t++) {
            Right right[TILES_IN];
            read_right(right, at, offsets[t]);
#pragma unroll
            for (u32 i = 0; i < TILES_OUT; i++)
#pragma unroll
                for (u32 j = 0; j < TILES_IN; j++) multiply<PRODUCT>(sums[t][i][j], left[i], right[j]);
        }
    }
}

enum : u32 { ROOM_BYTES = WARPS_PIXELS / 2 * TAPS * OUT * IN * 4 };

// Calls f(t, i, j, h, the first of two neighbouring sums).
template <class F> INLINE void each_pair(Tiles &sums, F f) {
#pragma unroll
    for (u32 t = 0; t < TAPS; t++)
#pragma unroll
        for (u32 i = 0; i < TILES_OUT; i++)
#pragma unroll
            for (u32 j = 0; j < TILES_IN; j++)
#pragma unroll
                for (u32 h = 0; h < 2; h++) f(t, i, j, h, sums[t][i][j].v[2 * h], sums[t][i][j].v[2 * h + 1]);
}

// Adds the sums of warps that share channels; the first have the totals. A lane's pairs lie beside its neighbours'.
INLINE void add_warps(Tiles &sums, float *room) {
    constexpr u32 PAIRS = TAPS * TILES_OUT * TILES_IN * 2, WARPS = WARPS_OUT * WARPS_IN;
    u32 warp = threadIdx.x / 32, pixels = warp / WARPS;
    auto place = [&](u32 of, u32 t, u32 i, u32 j, u32 h) {
        u32 pair = ((t * TILES_OUT + i) * TILES_IN + j) * 2 + h;
        return (float2 *)room + ((of * WARPS + warp % WARPS) * PAIRS + pair) * 32 + lane_id();
    };
#pragma unroll 1
    for (u32 half = WARPS_PIXELS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (pixels >= half && pixels < 2 * half)
            each_pair(sums, [&](u32 t, u32 i, u32 j, u32 h, float &x, float &y) {
                *place(pixels - half, t, i, j, h) = float2{x, y};
            });
        __syncthreads();
        if (pixels < half)
            each_pair(sums, [&](u32 t, u32 i, u32 j, u32 h, float &x, float &y) {
                float2 other = *place(pixels, t, i, j, h);
                x += other.x, y += other.y;
            });
    }
}

// A block's sums to memory.
INLINE void write_part(const WeightGradient &a, Tiles &sums, u32 tap0, u32 warp_out, u32 warp_in) {
    u32 o0 = blockIdx.y / BLOCKS_IN * OUT + warp_out * TILES_OUT * 16 + lane_id() / 4;
    u32 c0 = blockIdx.y % BLOCKS_IN * IN + warp_in * TILES_IN * 8 + lane_id() % 4 * 2;
    float *part = a.parts + (u64)blockIdx.x * WINDOW_TAPS * RESULT_C * SOURCE_C;
    each_pair(sums, [&](u32 t, u32 i, u32 j, u32 h, float &x, float &y) {
        u32 o = o0 + i * 16 + h * 8, c = c0 + j * 8;
        if (WINDOW_TAPS % TAPS != 0 && tap0 + t >= WINDOW_TAPS) return;
        if (RESULT_C % OUT != 0 && o >= RESULT_C) return;
        float *to = part + ((u64)(tap0 + t) * RESULT_C + o) * SOURCE_C + c;
        if constexpr (SOURCE_C % 2 == 0) {
            if (SOURCE_C % IN == 0 || c < SOURCE_C) store_words(to, __float_as_uint(x), __float_as_uint(y));
        } else {
            if (c < SOURCE_C) to[0] = x;
            if (c + 1 < SOURCE_C) to[1] = y;
        }
    });
}

KERNEL_OF(convolution_weights, WeightGradient, THREADS, BLOCKS) {
    u32 warp = threadIdx.x / 32;
    u32 warp_out = warp % WARPS_OUT, warp_in = warp / WARPS_OUT % WARPS_IN, warp_pixels = warp / (WARPS_OUT * WARPS_IN);
    u32 tap0 = WINDOW_TAPS == TAPS ? 0 : blockIdx.z * TAPS, offsets[TAPS];
#pragma unroll
    for (u32 t = 0; t < TAPS; t++) {
        u32 tap = tap0 + t;
        if (WINDOW_TAPS % TAPS != 0 && tap >= WINDOW_TAPS) tap = WINDOW_TAPS - 1;
        offsets[t] = R::offset(0, 0, tap / KERNEL_SIZE, tap % KERNEL_SIZE) * Source::PITCH;
    }
    Kept kept;
    kept.source = Source::factors(a.source_factors, blockIdx.y % BLOCKS_IN);
    kept.gradient = Gradient::factors(a.gradient_factors, blockIdx.y / BLOCKS_IN);
    u8 *stages = shared_memory();
    u32 ahead = blockIdx.x * a.each, end = min(a.tiles, ahead + a.each), current = 0;
    u64 valid[STAGES] = {};
#pragma unroll
    for (u32 s = 0; s + 1 < STAGES; s++) {
        if (ahead < end) valid[s] = ask(stages + s * STAGE, a, kept, ahead++);
        copy_async_commit();
    }
    Tiles sums = {};
    for (u32 tile = blockIdx.x * a.each; tile < end; tile++) {
        u8 *stage = stages + current * STAGE;
        if constexpr (STAGES == 1) {
            __syncthreads();
            valid[0] = ask(stage, a, kept, tile);
            copy_async_commit();
        }
        copy_async_wait<(STAGES > 2 ? STAGES - 2 : 0)>();
        transform(stage, kept, valid[0]);
        __syncthreads();
        if constexpr (STAGES > 1) {
#pragma unroll
            for (u32 s = 0; s + 1 < STAGES; s++) valid[s] = valid[s + 1];
            u32 free = current == 0 ? STAGES - 1 : current - 1;
            if (ahead < end) valid[STAGES - 2] = ask(stages + free * STAGE, a, kept, ahead++);
            copy_async_commit();
            current = current + 1 == STAGES ? 0 : current + 1;
        }
        multiply_tile(sums, stage, offsets, warp_out, warp_in, warp_pixels);
    }
    copy_async_wait<0>();
    add_warps(sums, (float *)stages);
    if (warp_pixels == 0) write_part(a, sums, tap0, warp_out, warp_in);
}
