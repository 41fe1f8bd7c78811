// Normalised images from bytes.
#include "common.cuh"

enum : u32 { THREADS = 256, EACH = 4 };

// Value = byte * factor + offset, a channel each; two roundings as on the processor, so that the bits are the same.
struct Levels {
    float factor[3], offset[3];
};

INLINE float level(const Levels &l, u32 channel, u8 byte) {
#ifdef MLAAN_HOST
    return (float)byte * l.factor[channel] + l.offset[channel];
#else
    return __fadd_rn(__fmul_rn((float)byte, l.factor[channel]), l.offset[channel]);
#endif
}

struct FromBytes {
    const u8 *bytes;
    float *images;
    u64 pixels;
    Levels levels;
};

// A thread has four pixels: three words of bytes.
KERNEL(images_from_bytes, FromBytes, THREADS) {
    u64 pixel = ((u64)blockIdx.x * THREADS + threadIdx.x) * EACH;
    if (pixel >= a.pixels) return;
    u64 i = pixel * 3;
    if (a.pixels - pixel < EACH) {
        for (u32 c = 0; i < a.pixels * 3; i++, c = (c + 1) % 3) a.images[i] = level(a.levels, c, a.bytes[i]);
        return;
    }
    const u32 *words = (const u32 *)(a.bytes + i);
    float values[12];
#pragma unroll
    for (int k = 0; k < 12; k++) values[k] = level(a.levels, k % 3, (u8)(words[k / 4] >> (8 * (k % 4))));
    float4 *out = (float4 *)(a.images + i);
#pragma unroll
    for (int k = 0; k < 3; k++) out[k] = float4{values[4 * k], values[4 * k + 1], values[4 * k + 2], values[4 * k + 3]};
}

struct FromSet {
    // [count][height][width][3].
    const u8 *set;
    // [images][4]: which image, rows and columns from the corner of the padded one, whether mirrored.
    const uint4 *draws;
    float *images;
    u64 count;
    u32 height, width, pad;
    // Whether the border mirrors the image, without its edge; else it is black.
    u32 reflect;
    // Blocks of an image.
    u32 blocks, unused;
    Levels levels;
};

// Where position `at` of the padded image lies in the image; beyond it where the border is black.
INLINE u32 inside(u32 at, u32 pad, u32 extent, u32 reflect) {
    if (at >= pad && at - pad < extent) return at - pad;
    if (!reflect) return extent;
    if (at < pad) return min(pad - at, extent - 1);
    u32 over = at - pad - (extent - 1);
    return over < extent ? extent - 1 - over : 0;
}

KERNEL(images_from_set, FromSet, THREADS) {
    u64 image = blockIdx.x / a.blocks;
    u32 begin = blockIdx.x % a.blocks * (EACH * THREADS) + threadIdx.x, length = a.height * a.width * 3;
    uint4 draw = a.draws[image];
    // Numbers come from the host; none may lead out of the set.
    u64 index = min((u64)draw.x, a.count - 1);
    u32 top = min(draw.y, 2 * a.pad), left = min(draw.z, 2 * a.pad);
    const u8 *source = a.set + index * length;
    float *out = a.images + image * length;
#pragma unroll
    for (u32 r = 0; r < EACH; r++) {
        u32 i = begin + r * THREADS;
        if (i >= length) return;
        u32 pixel = i / 3, c = i % 3, y = pixel / a.width, x = pixel % a.width;
        if (draw.w) x = a.width - 1 - x;
        u32 row = inside(y + top, a.pad, a.height, a.reflect), column = inside(x + left, a.pad, a.width, a.reflect);
        bool black = row == a.height || column == a.width;
        u8 byte = black ? 0 : source[((u64)row * a.width + column) * 3 + c];
        out[i] = level(a.levels, c, byte);
    }
}
