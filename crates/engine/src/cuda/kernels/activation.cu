// GELU and its gradient: a value of the operand for each of the result.
#include "outgoing.cuh"

// The part of a normal distribution below x, and its density; 2^-1/2 and (2 pi)^-1/2.
struct Normal {
    float below, density;

    INLINE explicit Normal(float x)
        : below(0.5f * erfcf(-0.70710678f * x)), density(0.39894228f * expf(-0.5f * x * x)) {}
};

// What stands for it in the form with tanh: (1 + tanh u) / 2 = 1 / (1 + exp(-2 u)), u = (2 / pi)^1/2 (x + 0.044715 x^3).
struct Logistic {
    float below, density;

    INLINE explicit Logistic(float x) {
        float size = fabsf(x), twice = 1.5957691f * (size + 0.044715f * size * size * size);
        float e = expf(-twice), part = 1.0f / (1.0f + e);
        below = x < 0.0f ? e * part : part;
        // Where nothing is left, the square may be more than 32 bits hold.
        density = twice < 87.0f ? e * part * part * 1.5957691f * (1.0f + 0.134145f * size * size) : 0.0f;
        if (x != x) below = x;
    }
};

template <int W, class Form> struct Activated {
    const Plane &plane;
    const Reader<W> &x;
    u32 channels, c;

    INLINE Values<W> at(u64 image, u32 h, u32 w) const {
        Values<W> v = x.values(place(plane, channels, image, h, w, c));
#pragma unroll
        for (int k = 0; k < W; k++) v.v[k] *= Form(v.v[k]).below;
        return v;
    }
};

template <int W, class Form> struct ActivatedGradient {
    const Plane &plane;
    const Reader<W> &x;
    const void *grad;
    u32 type, channels, c;

    INLINE Values<W> at(u64 image, u32 h, u32 w) const {
        u64 i = place(plane, channels, image, h, w, c);
        Values<W> v = x.values(i), g = load_values<W>(grad, type, i);
#pragma unroll
        for (int k = 0; k < W; k++) {
            Form form(v.v[k]);
            g.v[k] *= fmaf(v.v[k], form.density, form.below);
        }
        return g;
    }
};

template <class Form> INLINE void activate(const Resampling &a) {
    if (a.width == 8) each_result<8, Activated<8, Form>>(a);
    else each_result<1, Activated<1, Form>>(a);
}

template <class Form> INLINE void activate_gradient(const ResamplingGradient &a) {
    if (a.cut.width == 8) each_gradient<8, ActivatedGradient<8, Form>>(a);
    else each_gradient<1, ActivatedGradient<1, Form>>(a);
}

KERNEL(gelu, Resampling, BLOCK) { activate<Normal>(a); }

KERNEL(gelu_tanh, Resampling, BLOCK) { activate<Logistic>(a); }

KERNEL(gelu_gradient, ResamplingGradient, BLOCK) { activate_gradient<Normal>(a); }

KERNEL(gelu_tanh_gradient, ResamplingGradient, BLOCK) { activate_gradient<Logistic>(a); }
