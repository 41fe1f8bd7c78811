// A convolution whose extents are known when the kernel is compiled: which source pixels a tile of results reads, and
// where they lie in shared memory.
//
// A tile is TILE_N images x TILE_H x TILE_W results; under it lies a region of source pixels. The source pixel under a
// tap of a result is the result's own plus one offset for all results. Where results are several region pixels apart,
// a region's row holds its columns by their remainders, so that neighbouring results read neighbouring pixels.
//
// The gradient of the input is the same with source and result exchanged, for each class of result pixels by the
// remainders of their coordinates by the stride: no product is with a zero between pixels.
#pragma once
#include "common.cuh"

#define CONSTEXPR __device__ constexpr

// Defined by the launcher (specialised/shape.rs); here as the editor's example.
#ifndef KERNEL_SIZE
#define SOURCE_H 32
#define SOURCE_W 32
#define SOURCE_C 16
#define RESULT_H 32
#define RESULT_W 32
#define RESULT_C 16
#define KERNEL_SIZE 3
#define STRIDE 1
#define PAD 1
#define BACKWARD 0
#define TILE_N 1
#define TILE_H 8
#define TILE_W 32
#endif

// What one axis of a class reads: result i under tap j the source pixel origin + i * step + j; `first` is the window's
// tap that belongs to the last of them, backward.
struct Reach {
    int origin;
    u32 taps, first;
};

CONSTEXPR Reach reach_of(u32 r) {
    if (!BACKWARD) return Reach{-(int)PAD, KERNEL_SIZE, 0};
    u32 first = (r + PAD) % STRIDE;
    u32 taps = first < KERNEL_SIZE ? (KERNEL_SIZE - first + STRIDE - 1) / STRIDE : 0;
    return Reach{(int)((r + PAD) / STRIDE) - (int)taps + 1, taps, first};
}

// Which row or column of the window tap j of a class is.
CONSTEXPR u32 window_tap(Reach r, u32 j) { return BACKWARD ? r.first + STRIDE * (r.taps - 1 - j) : j; }

enum : u32 {
    CLASSES = BACKWARD ? STRIDE * STRIDE : 1,
    SIDE_CLASSES = BACKWARD ? STRIDE : 1,
    // Taps of an axis of a class at the most.
    SIDE_TAPS = BACKWARD ? (KERNEL_SIZE + STRIDE - 1) / STRIDE : KERNEL_SIZE,
    WINDOW_TAPS = KERNEL_SIZE * KERNEL_SIZE,
    // Source pixels between neighbouring results; between the windows of a single tap lies nothing that is read.
    STEP = BACKWARD ? 1 : STRIDE,
    GAP = SIDE_TAPS == 1 ? STEP : 1,
    INNER = STEP / GAP,
    // Results of the first class, which has the most.
    OUTPUTS_H = (RESULT_H + SIDE_CLASSES - 1) / SIDE_CLASSES,
    OUTPUTS_W = (RESULT_W + SIDE_CLASSES - 1) / SIDE_CLASSES,
    TILES_H = (OUTPUTS_H + TILE_H - 1) / TILE_H,
    TILES_W = (OUTPUTS_W + TILE_W - 1) / TILE_W,
    TILE_PIXELS = TILE_N * TILE_H * TILE_W
};

// The classes that a block computes from one region: one, or all of them (ALL).
enum : int { ALL = -1 };

// The first source pixel of an axis, and region pixels beside those of the results, over the classes of a block.
CONSTEXPR int lowest(int r) {
    if (r != ALL) return reach_of(r).origin;
    int low = 1 << 20;
    for (u32 i = 0; i < SIDE_CLASSES; i++)
        if (reach_of(i).taps && reach_of(i).origin < low) low = reach_of(i).origin;
    return low;
}
CONSTEXPR u32 breadth(int r) {
    int most = 1;
    for (u32 i = 0; i < SIDE_CLASSES; i++) {
        if (r != ALL && (int)i != r) continue;
        int end = reach_of(i).origin + (int)reach_of(i).taps - lowest(r);
        if (reach_of(i).taps && end > most) most = end;
    }
    return most;
}

// Where the region of a tile begins: its first image, row and column, and the pixel that they are in the source (which
// may lie before the first).
struct Corner {
    u32 image;
    int y, x;
    long long pixel;
};

// A region for class CLASS (ALL: for all).
template <int CLASS> struct Region {
    static constexpr int ROW_CLASS = CLASS == ALL ? ALL : CLASS / (int)SIDE_CLASSES;
    static constexpr int COLUMN_CLASS = CLASS == ALL ? ALL : CLASS % (int)SIDE_CLASSES;
    static constexpr int ORIGIN_H = lowest(ROW_CLASS), ORIGIN_W = lowest(COLUMN_CLASS);
    enum : u32 {
        HEIGHT = (TILE_H - 1) * INNER + breadth(ROW_CLASS),
        WIDTH = (TILE_W - 1) * INNER + breadth(COLUMN_CLASS),
        // Columns of one remainder, and pixels of a row in memory.
        PART = (WIDTH + INNER - 1) / INNER,
        ROW = PART * INNER,
        LOADED = TILE_N * HEIGHT * WIDTH,
        PIXELS = TILE_N * HEIGHT * ROW
    };

    static CONSTEXPR u32 column(u32 x) { return INNER == 1 ? x : x % INNER * PART + x / INNER; }

    // Where the i-th loaded pixel lies.
    static INLINE u32 position(u32 i) { return INNER == 1 ? i : i / WIDTH * ROW + column(i % WIDTH); }

    static INLINE Corner corner(u32 tile) {
        u32 across = tile % TILES_W, down = tile / TILES_W % TILES_H, image = tile / (TILES_W * TILES_H) * TILE_N;
        int y = (int)(down * TILE_H * STEP) + ORIGIN_H, x = (int)(across * TILE_W * STEP) + ORIGIN_W;
        return Corner{image, y, x, ((long long)image * SOURCE_H + y) * SOURCE_W + x};
    }

    // The i-th loaded pixel, from the corner's on: what is the same for all tiles. False where it lies outside.
    static INLINE bool source(const Corner &at, u32 i, u32 images, u32 &pixel) {
        u32 rest = i / WIDTH, image = rest / HEIGHT, y = rest % HEIGHT * GAP, x = i % WIDTH * GAP;
        pixel = (image * SOURCE_H + y) * SOURCE_W + x;
        // A tile of one image is of one that is there.
        bool there = TILE_N == 1 || at.image + image < images;
        return there && (u32)(at.y + (int)y) < SOURCE_H && (u32)(at.x + (int)x) < SOURCE_W;
    }

    // Where a result of the tile lies, in region pixels; those beyond the tile share the first.
    static INLINE u32 slot(u32 s) {
        if (s >= TILE_PIXELS) s = 0;
        u32 rest = s / TILE_W;
        return (rest / TILE_H * HEIGHT + rest % TILE_H * INNER) * ROW + s % TILE_W;
    }

    // What is added to it for tap (i, j) of class (rh, rw).
    static CONSTEXPR u32 offset(u32 rh, u32 rw, u32 i, u32 j) {
        return (u32)(reach_of(rh).origin - ORIGIN_H + (int)i) * ROW + column((u32)(reach_of(rw).origin - ORIGIN_W + (int)j));
    }
};

// Of a tile: its first image, row and column of results, and the pixel that they are for the first class.
struct Results {
    u32 image, y, x;
    u64 pixel;

    INLINE explicit Results(u32 tile) {
        image = tile / (TILES_W * TILES_H) * TILE_N;
        y = tile / TILES_W % TILES_H * TILE_H * SIDE_CLASSES, x = tile % TILES_W * TILE_W * SIDE_CLASSES;
        pixel = ((u64)image * RESULT_H + y) * RESULT_W + x;
    }

    // Slot s in class (rh, rw), from the first pixel on: what is the same for all tiles. False where it is no result;
    // what extents rule out is not asked.
    template <u32 SLOTS_OF_TILE> INLINE bool at(u32 s, u32 rh, u32 rw, u32 images, u32 &of) const {
        u32 rest = s / TILE_W, n = rest / TILE_H, row = rest % TILE_H * SIDE_CLASSES + rh, column = s % TILE_W * SIDE_CLASSES + rw;
        of = (n * RESULT_H + row) * RESULT_W + column;
        bool in_tile = TILE_PIXELS == SLOTS_OF_TILE || s < TILE_PIXELS;
        bool there = TILE_N == 1 || image + n < images;
        bool in_rows = RESULT_H % (TILE_H * SIDE_CLASSES) == 0 || y + row < RESULT_H;
        bool in_columns = RESULT_W % (TILE_W * SIDE_CLASSES) == 0 || x + column < RESULT_W;
        return in_tile && there && in_rows && in_columns;
    }
};
