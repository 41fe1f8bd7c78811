// Bilinear resizing, corners aligned: line o of the result lies at o * (extent - 1) / (results - 1) of the operand.
#include "outgoing.cuh"

// The operand's lines beside a line of the result, and how much of it is of the second.
struct Between {
    u32 low, high;
    float part;
};

// The distance of two lines of the operand in units in which positions are whole numbers.
INLINE u32 steps(u32 results) { return results > 1 ? results - 1 : 1; }

INLINE Between between(u32 o, u32 extent, u32 results) {
    u64 position = (u64)o * (extent - 1);
    u32 unit = steps(results), low = (u32)(position / unit);
    return {low, low + 1 < extent ? low + 1 : low, (float)(u32)(position % unit) / (float)unit};
}

template <int W> struct Resized {
    const Plane &plane;
    const Reader<W> &x;
    u32 channels, c;

    INLINE void add(Values<W> &sum, u64 image, u32 h, u32 w, float part) const {
        Values<W> v = x.values(place(plane, channels, image, h, w, c));
#pragma unroll
        for (int k = 0; k < W; k++) sum.v[k] = fmaf(part, v.v[k], sum.v[k]);
    }

    INLINE Values<W> at(u64 image, u32 oh, u32 ow) const {
        Between h = between(oh, plane.h, plane.result_h), w = between(ow, plane.w, plane.result_w);
        Values<W> sum = zeros<W>();
        add(sum, image, h.low, w.low, (1.0f - h.part) * (1.0f - w.part));
        add(sum, image, h.low, w.high, (1.0f - h.part) * w.part);
        add(sum, image, h.high, w.low, h.part * (1.0f - w.part));
        add(sum, image, h.high, w.high, h.part * w.part);
        return sum;
    }
};

KERNEL(resize, Resampling, BLOCK) {
    if (a.width == 8) each_result<8, Resized<8>>(a);
    else each_result<1, Resized<1>>(a);
}

// The lines of the result less than one line of the operand away from its line i.
INLINE Lines nearby(u32 i, u32 extent, u32 results) {
    if (extent == 1) return {0, results};
    u64 unit = steps(results), to = ((i + 1) * unit + extent - 2) / (extent - 1);
    u32 from = i == 0 ? 0 : (u32)((i - 1) * unit / (extent - 1)) + 1;
    return {from, to < results ? (u32)to : results};
}

// How much of line i of the operand is in line o of the result, which is near it.
INLINE float part_of(u32 o, u32 i, u32 extent, u32 results, float inverse) {
    u64 position = (u64)o * (extent - 1), here = (u64)i * steps(results);
    return 1.0f - (float)(u32)(position < here ? here - position : position - here) * inverse;
}

template <int W> struct ResizedGradient {
    const Plane &plane;
    const Reader<W> &x;
    const void *grad;
    u32 type, channels, c;

    INLINE Values<W> at(u64 image, u32 h, u32 w) const {
        Values<W> sum = zeros<W>();
        float inverse_h = 1.0f / (float)steps(plane.result_h), inverse_w = 1.0f / (float)steps(plane.result_w);
        Lines rows = nearby(h, plane.h, plane.result_h), columns = nearby(w, plane.w, plane.result_w);
        for (u32 oh = rows.from; oh < rows.to; oh++) {
            float part_h = part_of(oh, h, plane.h, plane.result_h, inverse_h);
            for (u32 ow = columns.from; ow < columns.to; ow++) {
                float part = part_h * part_of(ow, w, plane.w, plane.result_w, inverse_w);
                Values<W> g = load_values<W>(grad, type, result_place(plane, channels, image, oh, ow, c));
#pragma unroll
                for (int k = 0; k < W; k++) sum.v[k] = fmaf(part, g.v[k], sum.v[k]);
            }
        }
        return sum;
    }
};

KERNEL(resize_gradient, ResamplingGradient, BLOCK) {
    if (a.cut.width == 8) each_gradient<8, ResizedGradient<8>>(a);
    else each_gradient<1, ResizedGradient<1>>(a);
}
