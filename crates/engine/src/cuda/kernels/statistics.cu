// Mean and variance of all from those of pieces.
#include "common.cuh"

enum : u32 { ACROSS = 8, DOWN = 64 };

struct Statistics {
    // [pieces][3][channels]: count, mean, squared deviations.
    const float *pieces;
    // [4][channels]: rows MEAN and INV_STD become mean and biased variance.
    float *norm;
    u32 count, channels;
};

// Eight channels a block; pieces in 64 strands, whose sums are added in order.
KERNEL(finish_statistics, Statistics, ACROSS * DOWN) {
    __shared__ double sums[4][DOWN][ACROSS];
    u32 column = threadIdx.x % ACROSS, strand = threadIdx.x / ACROSS, c = blockIdx.x * ACROSS + column;
    double n = 0, first = 0, second = 0, deviations = 0;
    if (c < a.channels) {
        for (u32 p = strand; p < a.count; p += DOWN) {
            const float *piece = a.pieces + (u64)p * 3 * a.channels + c;
            double count = piece[0], mean = piece[a.channels];
            n += count;
            first += count * mean;
            second += count * mean * mean;
            deviations += piece[2 * a.channels];
        }
    }
    sums[0][strand][column] = n;
    sums[1][strand][column] = first;
    sums[2][strand][column] = second;
    sums[3][strand][column] = deviations;
    for (u32 half = DOWN / 2; half > 0; half /= 2) {
        __syncthreads();
        if (strand < half)
            for (u32 s = 0; s < 4; s++) sums[s][strand][column] += sums[s][strand + half][column];
    }
    if (strand != 0 || c >= a.channels) return;
    double total = sums[0][0][column], mean = sums[1][0][column] / total;
    // Squares of means less the square of their mean: all in 64 bits, where nothing cancels that matters.
    double spread = sums[2][0][column] - total * mean * mean;
    a.norm[MEAN * a.channels + c] = (float)mean;
    a.norm[INV_STD * a.channels + c] = (float)((sums[3][0][column] + (spread > 0 ? spread : 0)) / total);
}
