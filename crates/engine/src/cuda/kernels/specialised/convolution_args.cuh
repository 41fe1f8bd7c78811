// What the convolution of specialised/convolution.cu is for: sizes of a block, and the value that its kernel takes.
#pragma once
#include "geometry.cuh"
#include "loading.cuh"

// Defined by the launcher (specialised/convolution.rs); here as the editor's example.
#ifndef CHUNK
#define PRODUCT 0
#define SOURCE_TYPE 1
#define SOURCE_HOW 1
#define SOURCE_RELU 1
#define RESULT_TYPE 1
#define BIAS 0
#define STATISTICS 1
#define ACCUMULATE 0
#define OPERAND_TYPE 1
#define OPERAND_NORM 0
#define OPERAND_RELU 0
#define PARTIALS 0
#define CHUNK 16
#define WARPS_M 8
#define WARPS_N 1
#define TILES_M 2
#define TILES_N 2
#define STAGES 2
#define HELD 1
#define PIECE 4
#endif

enum : u32 {
    WARPS = WARPS_M * WARPS_N,
    THREADS = 32 * WARPS,
    SLOTS = 16 * WARPS_M * TILES_M,
    // Channels of a block, of a warp, and of a lane.
    CHANNELS = 8 * WARPS_N * TILES_N,
    WARP_CHANNELS = 8 * TILES_N,
    LANE = 2 * TILES_N,
    CHUNKS = (SOURCE_C + CHUNK - 1) / CHUNK,
    // Where a warp's sums leave few registers.
    AGAIN = TILES_M * TILES_N >= 8 || CLASSES > 1 || INNER > 1,
    // Sums of a piece a channel.
    SUMS = STATISTICS ? 3 : PARTIALS ? 2 : 0
};
static_assert(TILE_PIXELS <= SLOTS, "a tile fits a block");

typedef Loading<PRODUCT, SOURCE_TYPE, SOURCE_HOW, SOURCE_RELU, SOURCE_C, CHUNK, THREADS, 16, AGAIN> Source;

struct Convolution {
    const void *source, *raw;
    const float *factors;
    // Packed by `pack_convolution`.
    const void *weights;
    void *result;
    const float *bias;
    // Of the result's rectifier and normalisation, backward.
    const void *operand;
    const float *norm;
    // [pieces][SUMS][RESULT_C]: count, mean and squared deviations; or sums of gradient times normalised value, and of
    // the gradient.
    float *sums;
    u32 images, tiles, pieces, unused;
};

typedef Sums Tiles[TILES_M][TILES_N];
