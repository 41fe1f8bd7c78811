// Tiles of pixels with the border that a window needs, in shared memory.
//
// A tile is up to 128 slots: images x rows x columns of output pixels. Under it lies a region of source pixels; the
// pixel under tap (i, j) of a slot is the slot's own plus (i * region width + j): one offset for all slots.
#pragma once
#include "tensor_core.cuh"

enum : u32 { SLOTS = 128 };

// One axis: output i under tap j reads source pixel origin + i * step + j.
struct Axis {
    u32 outputs, step, taps;
    int origin;
};

// Source and extents; equal for all blocks.
struct Plane {
    u32 images, source_h, source_w, source_c;
    // Of the tile.
    u32 tile_n, tile_h, tile_w;
    // Tiles along rows and columns, and of all.
    u32 tiles_h, tiles_w, tiles;
    // Source steps between neighbours of the region (1, but for windows of one tap), and region steps between slots.
    u32 scale_h, scale_w, inner_h, inner_w;
};

// What is loaded: an operand, or a gradient with its normalisation's backward.
struct Source {
    const void *data, *raw;
    // Scale and shift, or the coefficients; null where there are none.
    const float *factors;
    u32 type, relu;
};

struct Tile {
    u32 image, row, column;
};

INLINE Tile tile_at(const Plane &p, u32 index) {
    u32 column = index % p.tiles_w, rest = index / p.tiles_w;
    return Tile{rest / p.tiles_h * p.tile_n, rest % p.tiles_h * p.tile_h, column * p.tile_w};
}

INLINE u32 slots_of(const Plane &p) { return p.tile_n * p.tile_h * p.tile_w; }

// Of a slot: image, row and column within its tile.
INLINE Tile slot_at(const Plane &p, u32 slot) {
    u32 column = slot % p.tile_w, rest = slot / p.tile_w;
    return Tile{rest / p.tile_h, rest % p.tile_h, column};
}

// The region of a tile, for `rows` rows of taps.
struct Region {
    u32 height, width, pixels;
};

INLINE Region region_of(const Plane &p, u32 rows, u32 columns) {
    Region r;
    r.height = (p.tile_h - 1) * p.inner_h + rows;
    r.width = (p.tile_w - 1) * p.inner_w + columns;
    r.pixels = p.tile_n * r.height * r.width;
    return r;
}

// Where the slot's pixel under the first tap lies in the region, in pixels; slots beyond the tile share the first.
INLINE u32 slot_pixel(const Plane &p, const Region &r, u32 slot) {
    if (slot >= slots_of(p)) slot = 0;
    Tile s = slot_at(p, slot);
    return (s.image * r.height + s.row * p.inner_h) * r.width + s.column * p.inner_w;
}

template <u32 P> struct Vector {
    enum : u32 { VALUES = 4 };
};
template <> struct Vector<PRODUCT_BF16> {
    enum : u32 { VALUES = 8 };
};

// Neighbouring values of N channels.
template <u32 N> struct Some {
    float v[N];
};

template <u32 N> INLINE Some<N> load_aligned(const void *data, u32 type, u64 i) {
    Some<N> s;
    if constexpr (N == 8) {
        Eight e = load_eight(data, type, i);
#pragma unroll
        for (u32 k = 0; k < N; k++) s.v[k] = e.v[k];
    } else {
        float4 e = *(const float4 *)((const float *)data + i);
        s = Some<N>{{e.x, e.y, e.z, e.w}};
    }
    return s;
}

// N channels from c on, of which those from `end` on are 0. Where channels come in eights, `aligned` is set.
template <u32 N> INLINE Some<N> load_channels(const void *data, u32 type, u64 i, u32 c, u32 end, bool aligned) {
    if (aligned) return load_aligned<N>(data, type, i);
    Some<N> s;
#pragma unroll
    for (u32 k = 0; k < N; k++) s.v[k] = c + k < end ? load(data, type, i + k) : 0.0f;
    return s;
}

// 16 bytes of operands: channels c on of a pixel, those beyond the last 0.
template <u32 P> INLINE uint4 load_operands(const Source &s, u32 channels, u64 pixel, u32 c) {
    constexpr u32 N = Vector<P>::VALUES;
    bool aligned = channels % 8 == 0;
    u64 i = pixel * channels + c;
    Some<N> x = load_channels<N>(s.data, s.type, i, c, channels, aligned);
    if (s.factors) {
        Some<N> f = load_channels<N>(s.factors, F32, c, c, channels, aligned);
        Some<N> g = load_channels<N>(s.factors + channels, F32, c, c, channels, aligned);
        if (s.raw) {
            Some<N> raw = load_channels<N>(s.raw, s.type, i, c, channels, aligned);
            Some<N> h = load_channels<N>(s.factors + 2 * channels, F32, c, c, channels, aligned);
#pragma unroll
            for (u32 k = 0; k < N; k++) x.v[k] = fmaf(x.v[k], f.v[k], fmaf(raw.v[k], g.v[k], h.v[k]));
        } else {
#pragma unroll
            for (u32 k = 0; k < N; k++) x.v[k] = fmaf(x.v[k], f.v[k], g.v[k]);
        }
    }
    if (s.relu) {
#pragma unroll
        for (u32 k = 0; k < N; k++) x.v[k] = fmaxf(x.v[k], 0.0f);
    }
    if constexpr (N == 8)
        return uint4{floats_to_bf16(x.v[0], x.v[1]), floats_to_bf16(x.v[2], x.v[3]), floats_to_bf16(x.v[4], x.v[5]),
                     floats_to_bf16(x.v[6], x.v[7])};
    else
        return uint4{__float_as_uint(x.v[0]), __float_as_uint(x.v[1]), __float_as_uint(x.v[2]),
                     __float_as_uint(x.v[3])};
}

// Fills the region of a tile with channels c0 .. c0 + values of the source; what lies outside the image is 0.
// `first_row`: the first row of taps that the region is for.
template <u32 P>
INLINE void fill_region(u8 *region, u32 pitch, const Plane &p, const Region &r, const Source &s, const Axis &h,
                        const Axis &w, const Tile &tile, u32 first_row, u32 c0, u32 values) {
    u32 vectors = values / Vector<P>::VALUES;
    for (u32 i = threadIdx.x; i < r.pixels * vectors; i += blockDim.x) {
        u32 pixel = i / vectors, vector = i % vectors;
        u32 column = pixel % r.width, rest = pixel / r.width;
        u32 row = rest % r.height, image = tile.image + rest / r.height;
        int y = h.origin + (int)(tile.row * h.step + row * p.scale_h + first_row);
        int x = w.origin + (int)(tile.column * w.step + column * p.scale_w);
        uint4 bytes = {0, 0, 0, 0};
        if (image < p.images && y >= 0 && y < (int)p.source_h && x >= 0 && x < (int)p.source_w) {
            u64 at = ((u64)image * p.source_h + y) * p.source_w + x;
            u32 c = c0 + vector * Vector<P>::VALUES;
            if (c < p.source_c) bytes = load_operands<P>(s, p.source_c, at, c);
        }
        *(uint4 *)(region + pixel * pitch + vector * 16) = bytes;
    }
}
