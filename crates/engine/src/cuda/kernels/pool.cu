// Pooling over windows (maximum) and over adaptive cells (average).
#include "outgoing.cuh"

// The operand's lines under window `o`; the border does not take part.
INLINE Lines under(const Plane &plane, u32 o, u32 extent) {
    u32 start = o * plane.stride, end = start + plane.kernel - plane.pad;
    return {start > plane.pad ? start - plane.pad : 0, end < extent ? end : extent};
}

// The windows that line `i` of the operand is under.
INLINE Lines over(const Plane &plane, u32 i, u32 windows) {
    u32 at = i + plane.pad, to = at / plane.stride + 1;
    return {at < plane.kernel ? 0 : (at - plane.kernel) / plane.stride + 1, to < windows ? to : windows};
}

template <int W> struct Maximum {
    const Plane &plane;
    const Reader<W> &x;
    u32 channels, c;

    INLINE Values<W> at(u64 image, u32 h, u32 w) const {
        Values<W> best;
#pragma unroll
        for (int k = 0; k < W; k++) best.v[k] = __uint_as_float(0xff800000u);
        Lines rows = under(plane, h, plane.h), columns = under(plane, w, plane.w);
        for (u32 i = rows.from; i < rows.to; i++)
            for (u32 j = columns.from; j < columns.to; j++) {
                Values<W> v = x.values(place(plane, channels, image, i, j, c));
#pragma unroll
                // A value that is not a number must not vanish.
                for (int k = 0; k < W; k++)
                    if (v.v[k] > best.v[k] || v.v[k] != v.v[k]) best.v[k] = v.v[k];
            }
        return best;
    }
};

KERNEL(max_pool, Resampling, BLOCK) {
    if (a.width == 8) each_result<8, Maximum<8>>(a);
    else each_result<1, Maximum<1>>(a);
}

// The windows that hold a pixel are searched again: the first maximum of a window takes all of its gradient.
template <int W> struct MaximumGradient {
    const Plane &plane;
    const Reader<W> &x;
    const void *grad;
    u32 type, channels, c;

    // Adds the gradient of window (oh, ow) where pixel (h, w) is its first maximum.
    INLINE void add(Values<W> &sum, u64 image, u32 oh, u32 ow, u32 h, u32 w) const {
        Values<W> best = zeros<W>();
        bool first = true, mine[W];
        Lines rows = under(plane, oh, plane.h), columns = under(plane, ow, plane.w);
        for (u32 i = rows.from; i < rows.to; i++)
            for (u32 j = columns.from; j < columns.to; j++) {
                Values<W> v = x.values(place(plane, channels, image, i, j, c));
                bool here = i == h && j == w;
#pragma unroll
                for (int k = 0; k < W; k++)
                    if (first || v.v[k] > best.v[k]) best.v[k] = v.v[k], mine[k] = here;
                first = false;
            }
        Values<W> g = load_values<W>(grad, type, result_place(plane, channels, image, oh, ow, c));
#pragma unroll
        for (int k = 0; k < W; k++) sum.v[k] += mine[k] ? g.v[k] : 0.0f;
    }

    INLINE Values<W> at(u64 image, u32 h, u32 w) const {
        Values<W> sum = zeros<W>();
        Lines rows = over(plane, h, plane.result_h), columns = over(plane, w, plane.result_w);
        for (u32 oh = rows.from; oh < rows.to; oh++)
            for (u32 ow = columns.from; ow < columns.to; ow++) add(sum, image, oh, ow, h, w);
        return sum;
    }
};

KERNEL(max_pool_gradient, ResamplingGradient, BLOCK) {
    if (a.cut.width == 8) each_gradient<8, MaximumGradient<8>>(a);
    else each_gradient<1, MaximumGradient<1>>(a);
}

// Lines floor(i * of / in) .. ceil((i + 1) * of / in): the lines of adaptive cell i and, with `of` and `in` exchanged,
// the cells that hold line i.
INLINE Lines overlapped(u32 i, u32 of, u32 in) {
    // To and from a single line, which is the most frequent, without divisions.
    if (in == 1) return {0, of};
    if (of == 1) return {0, 1};
    return {(u32)((u64)i * of / in), (u32)((((u64)i + 1) * of + in - 1) / in)};
}

struct Averages {
    Operand x;
    float *result;
    Plane plane;
    // Pixels of the result.
    u64 cells;
    // together: threads that share a cell's pixels, a power of two.
    u32 channels, width, across, together;
};

template <int W> INLINE void averages(const Averages &a) {
    u32 groups = ceil_div(a.channels, a.across * W), row = threadIdx.x / a.across;
    u32 c = (blockIdx.x % groups * a.across + threadIdx.x % a.across) * W;
    u64 cell = (u64)(blockIdx.x / groups) * (BLOCK / a.across / a.together) + row / a.together;
    bool active = cell < a.cells && c < a.channels;
    u64 line = cell / a.plane.result_w, image = line / a.plane.result_h;
    Lines rows = overlapped((u32)(line % a.plane.result_h), a.plane.h, a.plane.result_h);
    Lines columns = overlapped((u32)(cell % a.plane.result_w), a.plane.w, a.plane.result_w);
    u32 wide = columns.to - columns.from;
    u64 area = (u64)(rows.to - rows.from) * wide;
    Reader<W> x(a.x, a.channels, c);
    Values<W> sum = zeros<W>();
    for (u64 p = row % a.together; active && p < area; p += a.together) {
        u32 h = rows.from + (u32)(p / wide), w = columns.from + (u32)(p % wide);
        Values<W> v = x.values(place(a.plane, a.channels, image, h, w, c));
#pragma unroll
        for (int k = 0; k < W; k++) sum.v[k] += v.v[k];
    }
    add_rows<W>(sum, a.across, a.together);
    if (!active || row % a.together != 0) return;
#pragma unroll
    for (int k = 0; k < W; k++) sum.v[k] /= (float)area;
    store_values<W>(a.result, F32, cell * a.channels + c, sum);
}

KERNEL(average_pool, Averages, BLOCK) {
    if (a.width == 8) averages<8>(a);
    else averages<1>(a);
}

template <int W> struct AverageGradient {
    const Plane &plane;
    const Reader<W> &x;
    const void *grad;
    u32 type, channels, c;

    INLINE Values<W> at(u64 image, u32 h, u32 w) const {
        Values<W> sum = zeros<W>();
        Lines rows = overlapped(h, plane.result_h, plane.h), columns = overlapped(w, plane.result_w, plane.w);
        for (u32 oh = rows.from; oh < rows.to; oh++) {
            Lines high = overlapped(oh, plane.h, plane.result_h);
            for (u32 ow = columns.from; ow < columns.to; ow++) {
                Lines wide = overlapped(ow, plane.w, plane.result_w);
                float part = 1.0f / ((float)(high.to - high.from) * (float)(wide.to - wide.from));
                Values<W> g = load_values<W>(grad, type, result_place(plane, channels, image, oh, ow, c));
#pragma unroll
                for (int k = 0; k < W; k++) sum.v[k] = fmaf(part, g.v[k], sum.v[k]);
            }
        }
        return sum;
    }
};

KERNEL(average_pool_gradient, ResamplingGradient, BLOCK) {
    if (a.cut.width == 8) each_gradient<8, AverageGradient<8>>(a);
    else each_gradient<1, AverageGradient<1>>(a);
}
