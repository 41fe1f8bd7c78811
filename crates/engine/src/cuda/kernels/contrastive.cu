// Supervised contrastive loss (Khosla et al. 2020, L_out) of features scaled to length 1.
//
// Similarities are a matrix product; what a pair of samples adds to the gradient is made again from its similarity while
// the second product loads it, so no second matrix of pairs is stored.
#include "common.cuh"

enum : u32 { THREADS = 256, WARPS = THREADS / 32 };

struct Contrastive {
    // [samples][features], and a label each.
    const float *features;
    const u32 *labels;
    // Null where only the value is wanted.
    float *grad;
    // Features of length 1, and the lengths that they had.
    float *unit, *lengths;
    // [samples][samples], over temperature.
    float *similarities;
    // Of a sample: its loss, the logarithm of the sum over all others, and one over its partners' number (0 for none).
    float *losses, *logarithms, *shares;
    u32 samples, width;
    float temperature;
    // The loss's weight over the samples and over temperature.
    float factor;
};

// A warp has a sample, in all but the products.
INLINE u64 own_sample() { return (u64)blockIdx.x * WARPS + threadIdx.x / 32; }

KERNEL(contrastive_unit, Contrastive, THREADS) {
    u64 i = own_sample();
    if (i >= a.samples) return;
    const float *row = a.features + i * a.width;
    // In 64 bits: squares of floats may be too large or too small for 32.
    double squares = 0.0;
    for (u32 k = threadIdx.x % 32; k < a.width; k += 32) squares += (double)row[k] * row[k];
#pragma unroll
    for (u32 by = 16; by > 0; by /= 2) squares += __shfl_xor_sync(0xffffffffu, squares, by);
    float length = (float)fmax(sqrt(squares), 1e-12);
    for (u32 k = threadIdx.x % 32; k < a.width; k += 32) a.unit[i * a.width + k] = row[k] / length;
    if (threadIdx.x % 32 == 0) a.lengths[i] = length;
}

enum : u32 { TILE = 32, PITCH = TILE / 2 + 1 };

// Two by two sums of a 32x32 tile of a product: left(row, k) times right(k, column), over k below depth; both
// give 0 outside. Neighbouring threads read along k, or along rows and columns.
template <bool ALONG_K, class Left, class Right>
INLINE void tile_product(float (&sums)[2][2], u32 depth, Left left, Right right) {
    __shared__ float2 rows[TILE][PITCH], columns[TILE][PITCH];
    u32 x = threadIdx.x % 16, y = threadIdx.x / 16;
    for (u32 r = 0; r < 2; r++) sums[r][0] = sums[r][1] = 0.0f;
    for (u32 begin = 0; begin < depth; begin += TILE) {
        __syncthreads();
        for (u32 slow = threadIdx.x / TILE; slow < TILE; slow += THREADS / TILE) {
            u32 fast = threadIdx.x % TILE, k = ALONG_K ? fast : slow, at = ALONG_K ? slow : fast;
            ((float *)rows[k])[at] = left(at, begin + k);
            ((float *)columns[k])[at] = right(begin + k, at);
        }
        __syncthreads();
#pragma unroll 8
        for (u32 k = 0; k < TILE; k++) {
            float2 r = rows[k][y], c = columns[k][x];
            sums[0][0] = fmaf(r.x, c.x, sums[0][0]);
            sums[0][1] = fmaf(r.x, c.y, sums[0][1]);
            sums[1][0] = fmaf(r.y, c.x, sums[1][0]);
            sums[1][1] = fmaf(r.y, c.y, sums[1][1]);
        }
    }
}

// A block has a tile [rows along y][columns along x]; store(row, column, sum) for what lies inside.
template <class Store> INLINE void each_sum(const float (&sums)[2][2], u32 rows, u32 columns, Store store) {
    u32 row = blockIdx.y * TILE + threadIdx.x / 16 * 2, column = blockIdx.x * TILE + threadIdx.x % 16 * 2;
    for (u32 r = 0; r < 2; r++)
        for (u32 c = 0; c < 2; c++)
            if (row + r < rows && column + c < columns) store(row + r, column + c, sums[r][c]);
}

KERNEL(contrastive_similarities, Contrastive, THREADS) {
    u32 row = blockIdx.y * TILE, column = blockIdx.x * TILE;
    auto unit = [&](u32 i, u32 k) { return i < a.samples && k < a.width ? a.unit[(u64)i * a.width + k] : 0.0f; };
    float sums[2][2];
    tile_product<true>(
        sums, a.width, [&](u32 i, u32 k) { return unit(row + i, k); },
        [&](u32 k, u32 j) { return unit(column + j, k); });
    each_sum(sums, a.samples, a.samples,
             [&](u32 i, u32 j, float sum) { a.similarities[(u64)i * a.samples + j] = sum / a.temperature; });
}

// The loss of a sample against all others.
KERNEL(contrastive_anchors, Contrastive, THREADS) {
    u64 i = own_sample();
    if (i >= a.samples) return;
    const float *row = a.similarities + i * a.samples;
    u32 lane = threadIdx.x % 32, label = a.labels[i];
    float largest = -infinity();
    for (u32 j = lane; j < a.samples; j += 32)
        if (j != i) largest = fmaxf(largest, row[j]);
    largest = warp_max(largest);
    float sum = 0.0f, own = 0.0f, partners = 0.0f;
    for (u32 j = lane; j < a.samples; j += 32) {
        if (j == i) continue;
        float below = row[j] - largest;
        sum += expf(below);
        if (a.labels[j] == label) own += below, partners += 1.0f;
    }
    sum = warp_sum(sum), own = warp_sum(own), partners = warp_sum(partners);
    if (lane != 0) return;
    bool any = partners > 0.0f;
    a.losses[i] = any ? logf(sum) - own / partners : 0.0f;
    a.logarithms[i] = any ? largest + logf(sum) : 0.0f;
    a.shares[i] = any ? 1.0f / partners : 0.0f;
}

// What a pair's similarity adds to the loss, seen from one of the two.
INLINE float pull(float similarity, float logarithm, float share, bool same) {
    return share > 0.0f ? expf(similarity - logarithm) - (same ? share : 0.0f) : 0.0f;
}

// The gradient of features of length 1, before factors: [samples][width].
KERNEL(contrastive_pairs, Contrastive, THREADS) {
    u32 row = blockIdx.y * TILE, column = blockIdx.x * TILE;
    // The matrix is symmetric to the bit: it is read along i.
    auto pair = [&](u32 at, u32 j) {
        u32 i = row + at;
        if (i >= a.samples || j >= a.samples || i == j) return 0.0f;
        float s = a.similarities[(u64)j * a.samples + i];
        bool same = a.labels[i] == a.labels[j];
        return pull(s, a.logarithms[i], a.shares[i], same) + pull(s, a.logarithms[j], a.shares[j], same);
    };
    auto unit = [&](u32 j, u32 at) {
        u32 k = column + at;
        return j < a.samples && k < a.width ? a.unit[(u64)j * a.width + k] : 0.0f;
    };
    float sums[2][2];
    tile_product<false>(sums, a.samples, pair, unit);
    each_sum(sums, a.samples, a.width, [&](u32 i, u32 k, float sum) { a.grad[(u64)i * a.width + k] = sum; });
}

// Through the scaling to length 1: d = (d_unit - unit (unit . d_unit)) / length, in place.
KERNEL(contrastive_lengths, Contrastive, THREADS) {
    u64 i = own_sample();
    if (i >= a.samples) return;
    const float *unit = a.unit + i * a.width;
    float *grad = a.grad + i * a.width, along = 0.0f;
    for (u32 k = threadIdx.x % 32; k < a.width; k += 32) along = fmaf(grad[k], unit[k], along);
    along = warp_sum(along);
    float factor = a.factor / a.lengths[i];
    for (u32 k = threadIdx.x % 32; k < a.width; k += 32) grad[k] = factor * (grad[k] - along * unit[k]);
}
