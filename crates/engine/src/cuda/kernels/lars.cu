// LARS: the norms of a whole tensor by pieces, whose sums are added in order, then its step.
#include "common.cuh"

// Elements of a block: eight a thread.
enum : u32 { THREADS = 256, PIECE = 8 * THREADS, WARPS = THREADS / 32 };

struct Lars {
    float *parameter;
    const float *grad;
    float *velocity;
    // [pieces][2]: squares of the parameter and of the gradient; behind them the trust ratio.
    double *sums;
    u64 length;
    u32 pieces;
    float lr, momentum, weight_decay, trust, eps;
    u32 nesterov, unused;
};

// step(i) for the thread's elements of the block's piece.
template <class Step> INLINE void each(const Lars &a, Step step) {
#pragma unroll
    for (u32 r = 0; r < PIECE; r += THREADS) {
        u64 i = (u64)blockIdx.x * PIECE + r + threadIdx.x;
        if (i < a.length) step(i);
    }
}

KERNEL(lars_squares, Lars, THREADS) {
    __shared__ float room[2][WARPS];
    float p = 0.0f, g = 0.0f;
    each(a, [&](u64 i) {
        p = fmaf(a.parameter[i], a.parameter[i], p);
        g = fmaf(a.grad[i], a.grad[i], g);
    });
    p = warp_sum(p);
    g = warp_sum(g);
    if (threadIdx.x % 32 == 0) {
        room[0][threadIdx.x / 32] = p;
        room[1][threadIdx.x / 32] = g;
    }
    __syncthreads();
    if (threadIdx.x >= 2) return;
    double sum = 0.0;
    for (u32 k = 0; k < WARPS; k++) sum += room[threadIdx.x][k];
    a.sums[2 * (u64)blockIdx.x + threadIdx.x] = sum;
}

// One block: the first half of its threads adds up the parameter's squares, the other the gradient's.
KERNEL(lars_ratio, Lars, THREADS) {
    __shared__ double room[THREADS];
    u32 half = THREADS / 2, which = threadIdx.x / half;
    double sum = 0.0;
    for (u32 i = threadIdx.x % half; i < a.pieces; i += half) sum += a.sums[2 * (u64)i + which];
    room[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x != 0) return;
    double squares[2] = {0.0, 0.0};
    for (u32 i = 0; i < THREADS; i++) squares[i / half] += room[i];
    double p = sqrt(squares[0]), g = sqrt(squares[1]);
    a.sums[2 * (u64)a.pieces] = p > 0.0 && g > 0.0 ? a.trust * p / (g + a.weight_decay * p + a.eps) : 1.0;
}

// d = ratio (g + wd p); v = m v + d; p -= lr v, or lr (d + m v) with Nesterov.
KERNEL(lars_step, Lars, THREADS) {
    float ratio = (float)a.sums[2 * (u64)a.pieces];
    each(a, [&](u64 i) {
        float p = a.parameter[i], d = ratio * fmaf(a.weight_decay, p, a.grad[i]);
        float v = fmaf(a.momentum, a.velocity[i], d);
        a.velocity[i] = v;
        a.parameter[i] = p - a.lr * (a.nesterov ? fmaf(a.momentum, v, d) : v);
    });
}
