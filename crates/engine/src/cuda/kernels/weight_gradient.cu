// The gradient of a convolution's weights: for every tap, gradient of the result (transposed) times source, summed over
// all pixels. A block takes some output and input channels, a few taps and a part of the tiles; its sums stay in
// registers to the end. Parts are added in order by `add_parts`.
#include "halo.cuh"

#ifndef PRODUCT
#define PRODUCT 0
#endif
// Taps of a block; warps along output channels, input channels and pixels; what a warp computes: tiles of 16 output
// and of 8 input channels.
#ifndef TAPS
#define TAPS 9
#define WARPS_OUT 2
#define WARPS_IN 4
#define WARPS_PIXELS 1
#define TILES_OUT 1
#define TILES_IN 1
#endif
enum : u32 {
    THREADS = 32 * WARPS_OUT * WARPS_IN * WARPS_PIXELS,
    OUT = 16 * WARPS_OUT * TILES_OUT,
    IN = 8 * WARPS_IN * TILES_IN,
    // Rows end so that the transposed reads of a warp meet no bank twice.
    PAD = PRODUCT == PRODUCT_BF16 ? 16 : 32,
    BYTES = sizeof(Element<PRODUCT>::Type),
    OUT_PITCH = OUT * BYTES + PAD,
    IN_PITCH = IN * BYTES + PAD,
    // Pixels of one product.
    DEPTH = PRODUCT == PRODUCT_BF16 ? 16 : 8
};

struct WeightGradient {
    Source source;
    Source gradient;
    // [parts][taps][out][in]
    float *parts;
    Plane plane;
    u32 result_h, result_w, out, stride, pad, kernel, block_tiles, unused;
};

// The gradient of a tile's slots, channels o0 .. o0 + OUT; 0 where there is no pixel.
INLINE void fill_gradient(u8 *to, const WeightGradient &a, const Tile &tile, u32 o0) {
    const u32 vectors = OUT / Vector<PRODUCT>::VALUES;
    for (u32 i = threadIdx.x; i < SLOTS * vectors; i += THREADS) {
        u32 slot = i / vectors, o = o0 + i % vectors * Vector<PRODUCT>::VALUES;
        uint4 bytes = {0, 0, 0, 0};
        if (slot < slots_of(a.plane) && o < a.out) {
            Tile s = slot_at(a.plane, slot);
            u32 image = tile.image + s.image, row = tile.row + s.row, column = tile.column + s.column;
            if (image < a.plane.images && row < a.result_h && column < a.result_w) {
                u64 pixel = ((u64)image * a.result_h + row) * a.result_w + column;
                bytes = load_operands<PRODUCT>(a.gradient, a.out, pixel, o);
            }
        }
        *(uint4 *)(to + slot * OUT_PITCH + i % vectors * 16) = bytes;
    }
}

// Output channels x pixels from rows of pixels, beginning at channel bytes `column` of slot `slot`.
INLINE Left read_left(const u8 *rows, u32 slot, u32 column) {
    Left left;
    u32 lane = lane_id();
    if constexpr (PRODUCT == PRODUCT_BF16) {
        const u8 *row = rows + (slot + lane / 16 * 8 + lane % 8) * OUT_PITCH + column + lane / 8 % 2 * 16;
        read_matrices<4, true>(left.r, row);
    } else {
        const u8 *at = rows + (slot + lane % 4) * OUT_PITCH + column + lane / 4 * 4;
        left.r[0] = *(const u32 *)at;
        left.r[1] = *(const u32 *)(at + 32);
        left.r[2] = *(const u32 *)(at + 4 * OUT_PITCH);
        left.r[3] = *(const u32 *)(at + 4 * OUT_PITCH + 32);
    }
    return left;
}

// Pixels x input channels. `pixel`: of this lane's row (and, for 32-bit values, of the row four on) in the region.
INLINE Right read_right(const u8 *region, const u32 (&pixel)[2], u32 offset, u32 column) {
    Right right;
    if constexpr (PRODUCT == PRODUCT_BF16) {
        read_matrices<2, true>(right.r, region + (pixel[0] + offset) * IN_PITCH + column);
    } else {
        u32 at = column + lane_id() / 4 * 4;
        right.r[0] = *(const u32 *)(region + (pixel[0] + offset) * IN_PITCH + at);
        right.r[1] = *(const u32 *)(region + (pixel[1] + offset) * IN_PITCH + at);
    }
    return right;
}

KERNEL(weight_gradient, WeightGradient, THREADS) {
    u32 warp = threadIdx.x / 32, lane = lane_id();
    u32 warp_out = warp % WARPS_OUT, warp_in = warp / WARPS_OUT % WARPS_IN, warp_pixels = warp / (WARPS_OUT * WARPS_IN);
    u32 blocks_in = ceil_div(a.plane.source_c, IN);
    u32 o0 = blockIdx.y / blocks_in * OUT, c0 = blockIdx.y % blocks_in * IN;
    u32 all_taps = a.kernel * a.kernel, tap0 = blockIdx.z * TAPS;
    // Rows of taps that the block's taps lie in.
    u32 first_row = tap0 / a.kernel, last = min(tap0 + TAPS, all_taps) - 1, rows = last / a.kernel - first_row + 1;
    Axis h = {a.result_h, a.stride, a.kernel, -(int)a.pad}, w = {a.result_w, a.stride, a.kernel, -(int)a.pad};
    Region r = region_of(a.plane, rows, a.kernel);
    u8 *gradient = shared_memory(), *region = gradient + SLOTS * OUT_PITCH;
    u32 offsets[TAPS];
#pragma unroll
    for (u32 t = 0; t < TAPS; t++) {
        u32 tap = min(tap0 + t, last);
        offsets[t] = (tap / a.kernel - first_row) * r.width + tap % a.kernel;
    }
    Sums sums[TAPS][TILES_OUT][TILES_IN] = {};
    u32 end = min(a.plane.tiles, (blockIdx.x + 1) * a.block_tiles);
    for (u32 index = blockIdx.x * a.block_tiles; index < end; index++) {
        Tile tile = tile_at(a.plane, index);
        __syncthreads();
        fill_gradient(gradient, a, tile, o0);
        fill_region<PRODUCT>(region, IN_PITCH, a.plane, r, a.source, h, w, tile, first_row, c0, IN);
        __syncthreads();
        for (u32 slot = warp_pixels * DEPTH; slot < SLOTS; slot += WARPS_PIXELS * DEPTH) {
            Left left[TILES_OUT];
#pragma unroll
            for (u32 i = 0; i < TILES_OUT; i++)
                left[i] = read_left(gradient, slot, (warp_out * TILES_OUT + i) * 16 * BYTES);
            u32 mine = PRODUCT == PRODUCT_BF16 ? lane % 16 : lane % 4;
            const u32 pixel[2] = {slot_pixel(a.plane, r, slot + mine), slot_pixel(a.plane, r, slot + mine + 4)};
#pragma unroll
            for (u32 t = 0; t < TAPS; t++) {
#pragma unroll
                for (u32 j = 0; j < TILES_IN; j++) {
                    Right right = read_right(region, pixel, offsets[t], (warp_in * TILES_IN + j) * 8 * BYTES);
#pragma unroll
                    for (u32 i = 0; i < TILES_OUT; i++) multiply<PRODUCT>(sums[t][i][j], left[i], right);
                }
            }
        }
    }
    u32 part = blockIdx.x * WARPS_PIXELS + warp_pixels;
#pragma unroll
    for (u32 t = 0; t < TAPS; t++) {
        if (tap0 + t > last) continue;
        float *to = a.parts + ((u64)part * all_taps + tap0 + t) * a.out * a.plane.source_c;
#pragma unroll
        for (u32 i = 0; i < TILES_OUT; i++)
#pragma unroll
            for (u32 j = 0; j < TILES_IN; j++)
#pragma unroll
                for (u32 k = 0; k < 4; k++) {
                    u32 o = o0 + (warp_out * TILES_OUT + i) * 16 + lane / 4 + k / 2 * 8;
                    u32 c = c0 + (warp_in * TILES_IN + j) * 8 + lane % 4 * 2 + k % 2;
                    if (o < a.out && c < a.plane.source_c) to[(u64)o * a.plane.source_c + c] = sums[t][i][j].v[k];
                }
    }
}
