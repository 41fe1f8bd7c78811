// Cross-entropy with smoothed labels and weighted classes, of every sample.
#include "common.cuh"

enum : u32 { THREADS = 256, WARPS = THREADS / 32 };

struct ClassLoss {
    // [samples][classes], and a label each.
    const float *logits;
    const u32 *labels;
    // The second label of mixtures, and the share of the first; null where samples are none.
    const u32 *other;
    const float *share;
    // [classes]; null where all count alike.
    const float *weights;
    // Null where only the value is wanted.
    float *grad;
    float *losses, *wrong;
    // The sum of the labels' weights; null where the mean is over samples.
    double *divisor;
    u32 samples, classes;
    // The loss's weight.
    float weight, smoothing;
};

// One block. Samples in strands, whose sums are added in order.
KERNEL(class_loss_divisor, ClassLoss, THREADS) {
    __shared__ double sums[THREADS];
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < a.samples; i += THREADS) {
        u32 label = a.labels[i];
        if (label < a.classes) sum += a.weights[label];
    }
    sums[threadIdx.x] = sum;
    for (u32 half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) *a.divisor = sums[0];
}

// What a sample is taught.
struct Taught {
    u32 label, other;
    float own, second, spread;
    const float *weights;
};

INLINE float wanted(const Taught &t, u32 k) {
    float target = t.spread + (k == t.label ? t.own : 0.0f) + (k == t.other ? t.second : 0.0f);
    return t.weights ? t.weights[k] * target : target;
}

// The largest of a row, the first of equals; what is no number is never larger.
INLINE void row_best(const float *row, u32 classes, u32 lane, float &value, u32 &place) {
    value = -infinity();
    place = 0;
    for (u32 k = lane; k < classes; k += 32)
        if (row[k] > value) {
            value = row[k];
            place = k;
        }
#pragma unroll
    for (u32 by = 16; by > 0; by /= 2) {
        float v = __shfl_xor_sync(0xffffffffu, value, by);
        u32 p = __shfl_xor_sync(0xffffffffu, place, by);
        if (v > value || (v == value && p < place)) {
            value = v;
            place = p;
        }
    }
}

// A warp has a sample. Its value is its part of the mean, times the number of samples.
KERNEL(class_loss, ClassLoss, THREADS) {
    u32 lane = threadIdx.x % 32;
    u64 sample = (u64)blockIdx.x * WARPS + threadIdx.x / 32;
    if (sample >= a.samples) return;
    const float *row = a.logits + sample * a.classes;
    float share = a.share ? a.share[sample] : 1.0f, kept = 1.0f - a.smoothing;
    Taught taught = {a.labels[sample], a.other ? a.other[sample] : 0u, kept * share, kept * (1.0f - share),
                     a.smoothing / (float)a.classes, a.weights};

    float max;
    u32 place;
    row_best(row, a.classes, lane, max, place);
    float sum = 0.0f, all = 0.0f, mixture = 0.0f;
    for (u32 k = lane; k < a.classes; k += 32) {
        float shifted = row[k] - max, w = wanted(taught, k);
        sum += expf(shifted);
        all += w;
        // What is not asked for may have no probability.
        if (w != 0.0f) mixture = fmaf(w, shifted, mixture);
    }
    sum = warp_sum(sum);
    all = warp_sum(all);
    mixture = warp_sum(mixture);

    float part = a.divisor ? (float)((double)a.samples / *a.divisor) : 1.0f;
    if (lane == 0) {
        // A label outside of the classes has no probability; the loss says so.
        bool outside = (share > 0.0f && taught.label >= a.classes) || (share < 1.0f && taught.other >= a.classes);
        a.losses[sample] = outside ? infinity() : part * (all * logf(sum) - mixture);
        a.wrong[sample] = place == taught.label ? 0.0f : 1.0f;
    }
    if (!a.grad) return;
    float *grad = a.grad + sample * a.classes;
    float factor = part * (a.weight / (float)a.samples), scale = all / sum;
    for (u32 k = lane; k < a.classes; k += 32)
        grad[k] = factor * (expf(row[k] - max) * scale - wanted(taught, k));
}
