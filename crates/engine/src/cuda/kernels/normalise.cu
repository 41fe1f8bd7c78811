// BatchNorm: from statistics to scale and shift, and from sums of a gradient to the coefficients of its backward.
// All in 64 bits: there are few channels, and what is subtracted here may nearly cancel.
#include "common.cuh"

struct Normalise {
    // [4][channels]
    float *norm;
    const float *weight, *bias;
    float *running_mean, *running_variance;
    // Of the unbiased variance, over the biased one.
    double unbiased;
    float eps, momentum;
    u32 channels, unused;
};

INLINE void make_ready(const Normalise &a, u32 c, double mean, double variance) {
    double inv_std = 1.0 / sqrt(variance + (double)a.eps), scale = (double)a.weight[c] * inv_std;
    a.norm[SCALE * a.channels + c] = (float)scale;
    a.norm[SHIFT * a.channels + c] = (float)((double)a.bias[c] - mean * scale);
    a.norm[MEAN * a.channels + c] = (float)mean;
    a.norm[INV_STD * a.channels + c] = (float)inv_std;
}

KERNEL(normalise_train, Normalise, 128) {
    u32 c = blockIdx.x * 128 + threadIdx.x;
    if (c >= a.channels) return;
    double mean = a.norm[MEAN * a.channels + c], variance = a.norm[INV_STD * a.channels + c], m = a.momentum;
    make_ready(a, c, mean, variance);
    a.running_mean[c] = (float)((1.0 - m) * (double)a.running_mean[c] + m * mean);
    a.running_variance[c] = (float)((1.0 - m) * (double)a.running_variance[c] + m * variance * a.unbiased);
}

KERNEL(normalise_eval, Normalise, 128) {
    u32 c = blockIdx.x * 128 + threadIdx.x;
    if (c < a.channels) make_ready(a, c, a.running_mean[c], a.running_variance[c]);
}

enum : u32 { ACROSS = 8, DOWN = 128 };

struct NormGradient {
    // [pieces][2][channels]
    const float *partials;
    const float *norm;
    // [3][channels]
    float *coefficients;
    // Null where they are not wanted.
    float *weight, *bias;
    u64 pixels;
    u32 pieces, channels;
};

INLINE void write_gradient(const NormGradient &a, u32 c, double product, double sum) {
    double scale = a.norm[SCALE * a.channels + c], mean = a.norm[MEAN * a.channels + c];
    double b = -scale * (double)a.norm[INV_STD * a.channels + c] * product / (double)a.pixels;
    a.coefficients[c] = (float)scale;
    a.coefficients[a.channels + c] = (float)b;
    a.coefficients[2 * a.channels + c] = (float)(-scale * sum / (double)a.pixels - b * mean);
    if (a.weight) a.weight[c] = (float)product;
    if (a.bias) a.bias[c] = (float)sum;
}

// Eight channels a block; pieces in 128 strands, whose sums are added in order.
KERNEL(finish_norm_gradient, NormGradient, ACROSS * DOWN) {
    __shared__ double sums[2][DOWN][ACROSS];
    u32 column = threadIdx.x % ACROSS, strand = threadIdx.x / ACROSS, c = blockIdx.x * ACROSS + column;
    double product = 0, sum = 0;
    if (c < a.channels) {
#pragma unroll 4
        for (u32 p = strand; p < a.pieces; p += DOWN) {
            const float *piece = a.partials + (u64)p * 2 * a.channels + c;
            product += piece[0];
            sum += piece[a.channels];
        }
    }
    sums[0][strand][column] = product;
    sums[1][strand][column] = sum;
    for (u32 half = DOWN / 2; half > 0; half /= 2) {
        __syncthreads();
        if (strand >= half) continue;
        for (u32 s = 0; s < 2; s++) sums[s][strand][column] += sums[s][strand + half][column];
    }
    if (strand == 0 && c < a.channels) write_gradient(a, c, sums[0][0][column], sums[1][0][column]);
}
