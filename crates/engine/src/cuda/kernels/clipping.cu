// Clipping of gradients by their norm: sums of squares of many tensors at once, the coefficient of all, and what is
// multiplied by it.
#include "common.cuh"

// Elements of a block: eight a thread.
enum : u32 { THREADS = 256, PIECE = 8 * THREADS, MOST = 64, WARPS = THREADS / 32 };

// The entry of a table that the block works on: first[e] is the first block of entry e.
INLINE u32 own_entry(const u32 *first, u32 count) {
    u32 low = 0, high = count;
    while (high - low > 1) {
        u32 middle = (low + high) / 2;
        if (first[middle] <= blockIdx.x) low = middle;
        else high = middle;
    }
    return low;
}

struct SquaresEntry {
    const float *values;
    // One of every piece.
    float *sums;
    u64 length;
};

struct SquaresMany {
    SquaresEntry entries[MOST];
    u32 first[MOST];
    u32 count, blocks;
    u32 unused[2];
};

KERNEL(squares_many, SquaresMany, THREADS) {
    __shared__ float room[WARPS];
    u32 entry = own_entry(a.first, a.count), piece = blockIdx.x - a.first[entry];
    const SquaresEntry &e = a.entries[entry];
    float sum = 0.0f;
#pragma unroll
    for (u32 r = 0; r < PIECE; r += THREADS) {
        u64 i = (u64)piece * PIECE + r + threadIdx.x;
        if (i < e.length) sum = fmaf(e.values[i], e.values[i], sum);
    }
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (u32 w = 1; w < WARPS; w++) sum += room[w];
    e.sums[piece] = sum;
}

struct Coefficient {
    const float *sums;
    float *coefficient;
    u32 count;
    float max_norm;
};

// One block. Sums in strands, which are added in order.
KERNEL(clip_coefficient, Coefficient, THREADS) {
    __shared__ double strands[THREADS];
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < a.count; i += THREADS) sum += a.sums[i];
    strands[threadIdx.x] = sum;
    for (u32 half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) strands[threadIdx.x] += strands[threadIdx.x + half];
    }
    if (threadIdx.x != 0) return;
    double coefficient = a.max_norm / (sqrt(strands[0]) + 1e-6);
    // What is no number stays so.
    *a.coefficient = coefficient > 1.0 ? 1.0f : (float)coefficient;
}

struct ScaleEntry {
    float *values;
    const float *factor;
    u64 length;
};

struct ScaleMany {
    ScaleEntry entries[MOST];
    u32 first[MOST];
    u32 count, blocks;
    u32 unused[2];
};

KERNEL(scale_many, ScaleMany, THREADS) {
    u32 entry = own_entry(a.first, a.count), piece = blockIdx.x - a.first[entry];
    const ScaleEntry &e = a.entries[entry];
    float factor = *e.factor;
#pragma unroll
    for (u32 r = 0; r < PIECE; r += THREADS) {
        u64 i = (u64)piece * PIECE + r + threadIdx.x;
        if (i < e.length) e.values[i] *= factor;
    }
}
