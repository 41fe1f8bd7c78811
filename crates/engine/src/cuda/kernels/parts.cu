// Sums of parts, in order: the end of the gradients of weights and biases.
#include "common.cuh"

struct Parts {
    // [parts][length]
    const float *parts;
    float *result;
    u64 length;
    u32 count, taps;
};

enum : u32 { ACROSS = 32, DOWN = 8 };

// result[i] = sum of parts. With taps > 1 parts are [taps][rest] and the result [rest][taps].
KERNEL(add_parts, Parts, ACROSS * DOWN) {
    __shared__ float strands[DOWN][ACROSS];
    u32 column = threadIdx.x % ACROSS, strand = threadIdx.x / ACROSS;
    u64 i = (u64)blockIdx.x * ACROSS + column;
    float sum = 0.0f;
    if (i < a.length)
        for (u32 p = strand; p < a.count; p += DOWN) sum += a.parts[p * a.length + i];
    strands[strand][column] = sum;
    __syncthreads();
    if (strand != 0 || i >= a.length) return;
    for (u32 s = 1; s < DOWN; s++) sum += strands[s][column];
    u64 rest = a.length / a.taps;
    a.result[i % rest * a.taps + i / rest] = sum;
}

struct BiasGradient {
    Incoming gradient;
    // [pieces][channels]
    float *pieces;
    u64 pixels;
    u32 channels, piece;
};

// Sums of a gradient over a piece of its pixels, 32 channels a block.
KERNEL(bias_gradient, BiasGradient, ACROSS * DOWN) {
    __shared__ float strands[DOWN][ACROSS];
    u32 column = threadIdx.x % ACROSS, strand = threadIdx.x / ACROSS, c = blockIdx.y * ACROSS + column;
    u64 begin = (u64)blockIdx.x * a.piece, end = begin + a.piece < a.pixels ? begin + a.piece : a.pixels;
    float sum = 0.0f;
    if (c < a.channels)
        for (u64 p = begin + strand; p < end; p += DOWN) {
            u64 i = p * a.channels + c;
            const Incoming &g = a.gradient;
            sum += arrived(g, a.channels, c, load(g.grad, g.type, i), g.raw ? load(g.raw, g.type, i) : 0.0f);
        }
    strands[strand][column] = sum;
    __syncthreads();
    if (strand != 0 || c >= a.channels) return;
    for (u32 s = 1; s < DOWN; s++) sum += strands[s][column];
    a.pieces[(u64)blockIdx.x * a.channels + c] = sum;
}
