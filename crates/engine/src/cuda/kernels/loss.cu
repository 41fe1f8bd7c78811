// Losses of every sample, their gradients, and the sum over samples.
#include "common.cuh"

enum : u32 { THREADS = 256, WARPS = THREADS / 32 };

struct CrossEntropy {
    // [samples][classes], and a label each.
    const float *logits;
    const u32 *labels;
    // The second label of mixtures, and the share of the first; null where samples are none.
    const u32 *other;
    const float *share;
    // Null where only the value is wanted.
    float *grad;
    float *losses, *wrong;
    u32 samples, classes;
    // The loss's weight over the samples.
    float factor;
    u32 unused;
};

// A value and where it stands; the first of equals is the larger. What is no number is never larger.
struct Best {
    float value;
    u32 place;
};

INLINE Best larger(const Best &a, const Best &b) {
    return b.value > a.value || (b.value == a.value && b.place < a.place) ? b : a;
}

INLINE Best warp_best(Best x) {
#pragma unroll
    for (u32 by = 16; by > 0; by /= 2) {
        float value = __shfl_xor_sync(0xffffffffu, x.value, by);
        u32 place = __shfl_xor_sync(0xffffffffu, x.place, by);
        x = larger(x, Best{value, place});
    }
    return x;
}

// A warp has a sample.
KERNEL(cross_entropy, CrossEntropy, THREADS) {
    u32 lane = threadIdx.x % 32;
    u64 sample = (u64)blockIdx.x * WARPS + threadIdx.x / 32;
    if (sample >= a.samples) return;
    const float *row = a.logits + sample * a.classes;
    u32 label = a.labels[sample], other = a.other ? a.other[sample] : label;
    float share = a.share ? a.share[sample] : 1.0f;

    Best best = {-infinity(), 0};
    for (u32 k = lane; k < a.classes; k += 32)
        if (row[k] > best.value) best = Best{row[k], k};
    best = warp_best(best);
    float sum = 0.0f;
    for (u32 k = lane; k < a.classes; k += 32) sum += expf(row[k] - best.value);
    sum = warp_sum(sum);

    if (lane == 0) {
        // A label outside of the classes has no probability; the loss says so.
        float own = label < a.classes ? row[label] - best.value : -infinity();
        if (share < 1.0f)
            own = share * own + (1.0f - share) * (other < a.classes ? row[other] - best.value : -infinity());
        a.losses[sample] = logf(sum) - own;
        a.wrong[sample] = best.place == label ? 0.0f : 1.0f;
    }
    if (!a.grad) return;
    float *grad = a.grad + sample * a.classes;
    float scale = 1.0f / sum;
    for (u32 k = lane; k < a.classes; k += 32) {
        float wanted = (k == label ? share : 0.0f) + (k == other ? 1.0f - share : 0.0f);
        grad[k] = a.factor * (expf(row[k] - best.value) * scale - wanted);
    }
}

struct Reconstruction {
    const float *raw, *images;
    // Null where only the value is wanted.
    float *grad;
    float *losses;
    // Values of a sample.
    u64 length;
    float mean[3], std[3];
    // The loss's weight over all values.
    float factor;
    u32 unused;
};

// A multiple of the three channels: a thread keeps to one.
enum : u32 { PIXEL_THREADS = 384 };

// A block has a sample.
KERNEL(reconstruction, Reconstruction, PIXEL_THREADS) {
    u32 c = threadIdx.x % 3;
    float mean = a.mean[c], std = a.std[c], sum = 0.0f;
    u64 end = (blockIdx.x + 1ull) * a.length;
    for (u64 i = blockIdx.x * a.length + threadIdx.x; i < end; i += PIXEL_THREADS) {
        float x = a.raw[i], pixel = fmaf(a.images[i], std, mean);
        float e = expf(-fabsf(x));
        sum += fmaxf(x, 0.0f) - x * pixel + log1pf(e);
        if (a.grad) a.grad[i] = a.factor * ((x >= 0.0f ? 1.0f : e) / (1.0f + e) - pixel);
    }
    __shared__ float sums[PIXEL_THREADS / 32];
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (u32 w = 1; w < PIXEL_THREADS / 32; w++) sum += sums[w];
    a.losses[blockIdx.x] = sum;
}

struct Total {
    const float *losses;
    // Null where nothing is classified.
    const float *wrong;
    // [2]: loss, and wrong.
    float *row;
    double divisor;
    u32 samples;
    // Whether the second column is written.
    u32 both;
};

// One block. Samples in strands, whose sums are added in order.
KERNEL(loss_total, Total, THREADS) {
    __shared__ double sums[2][THREADS];
    double loss = 0.0, wrong = 0.0;
    for (u64 i = threadIdx.x; i < a.samples; i += THREADS) {
        loss += a.losses[i];
        if (a.wrong) wrong += a.wrong[i];
    }
    sums[0][threadIdx.x] = loss;
    sums[1][threadIdx.x] = wrong;
    for (u32 half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            for (u32 s = 0; s < 2; s++) sums[s][threadIdx.x] += sums[s][threadIdx.x + half];
    }
    if (threadIdx.x != 0) return;
    a.row[0] = (float)(sums[0][0] / a.divisor);
    if (a.both) a.row[1] = (float)sums[1][0];
}
