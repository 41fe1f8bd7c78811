// Products of small matrices by a warp: [16 x K] times [K x 8] added to [16 x 8], K = 32 bytes of operands: sixteen
// bfloat16 or eight 32-bit values. Where a lane keeps which element is the PTX manual's ("Matrix fragments for
// mma.m16n8k16" and ".m16n8k8"); on the host a warp's fragments are put together, and multiplied once.
#pragma once
#include "common.cuh"

// Rows g and g + 8 (g = lane / 4) of 16 x 32 bytes: words lane % 4 and 4 + lane % 4 of each.
struct Left {
    u32 r[4];
};

// Column g of 32 bytes x 8.
struct Right {
    u32 r[2];
};

// Rows g and g + 8, columns 2 (lane % 4) and the next.
struct Sums {
    float v[4];
};

INLINE u32 lane_id() { return threadIdx.x % 32; }

#ifdef MLAAN_HOST

// Four (or two) matrices of eight rows of 16 bytes; the address of row r of matrix m is lane 8 m + r's.
template <int N, bool TRANSPOSED> INLINE void read_matrices(u32 *out, const void *row) {
    Boxes rows = warp_exchange(row);
    u32 g = lane_id() / 4, t = lane_id() % 4;
    auto row_of = [&](u32 lane) { return given<const void *>(rows, lane); };
    for (int m = 0; m < N; m++) {
        if (TRANSPOSED) {
            u32 low = ((const u16 *)row_of(8 * m + 2 * t))[g], high = ((const u16 *)row_of(8 * m + 2 * t + 1))[g];
            out[m] = low | (high << 16);
        } else {
            out[m] = ((const u32 *)row_of(8 * m + g))[t];
        }
    }
}

struct Fragments {
    Left a;
    Right b;
};

struct Lane {
    Fragments of;
    Sums c;
};

// A row of eight columns.
typedef float Columns __attribute__((vector_size(32)));

// The whole matrices of a warp's fragments: 32-bit values.
struct Matrices {
    u32 a[16][8], b[8][8];
    Columns c[16];

    INLINE void take(Boxes boxes) {
        for (u32 lane = 0; lane < 32; lane++) {
            Lane f = given<Lane>(boxes, lane);
            u32 g = lane / 4, t = lane % 4;
            for (u32 i = 0; i < 4; i++) {
                a[g + 8 * (i % 2)][t + 4 * (i / 2)] = f.of.a.r[i];
                c[g + 8 * (i / 2)][2 * t + i % 2] = f.c.v[i];
            }
            for (u32 i = 0; i < 2; i++) b[t + 4 * i][g] = f.of.b.r[i];
        }
    }

    INLINE void give(Boxes shares) const {
        for (u32 lane = 0; lane < 32; lane++) {
            u32 g = lane / 4, t = lane % 4;
            Sums s;
            for (u32 i = 0; i < 4; i++) s.v[i] = c[g + 8 * (i / 2)][2 * t + i % 2];
            memcpy(shares[lane], &s, sizeof(s));
        }
    }
};

// Each 32-bit value holds two bfloat16: the low half is the even k.
INLINE void multiply_bf16(Sums &c, const Left &a, const Right &b) {
    count_exchanges(1, sizeof(Fragments));
    c = warp_combine<Sums>(Lane{{a, b}, c}, [](Boxes boxes, Boxes shares) {
        Matrices m;
        m.take(boxes);
        Columns factors[2][8];
        for (u32 k = 0; k < 8; k++)
            for (u32 column = 0; column < 8; column++) {
                factors[0][k][column] = bf16_to_float(m.b[k][column] & 0xffff);
                factors[1][k][column] = bf16_to_float(m.b[k][column] >> 16);
            }
        for (u32 row = 0; row < 16; row++)
            for (u32 k = 0; k < 8; k++) {
                m.c[row] += bf16_to_float(m.a[row][k] & 0xffff) * factors[0][k];
                m.c[row] += bf16_to_float(m.a[row][k] >> 16) * factors[1][k];
            }
        m.give(shares);
    });
}

INLINE void multiply_tf32(Sums &c, const Left &a, const Right &b) {
    count_exchanges(1, sizeof(Fragments));
    c = warp_combine<Sums>(Lane{{a, b}, c}, [](Boxes boxes, Boxes shares) {
        Matrices m;
        m.take(boxes);
        Columns factors[8];
        for (u32 k = 0; k < 8; k++)
            for (u32 column = 0; column < 8; column++) factors[k][column] = __uint_as_float(m.b[k][column]);
        for (u32 row = 0; row < 16; row++)
            for (u32 k = 0; k < 8; k++) m.c[row] += __uint_as_float(m.a[row][k]) * factors[k];
        m.give(shares);
    });
}

// The nearest value of ten bits of fraction.
INLINE u32 to_tf32(float x) { return (__float_as_uint(x) + 0x1000u) & ~0x1fffu; }

#else

template <int N, bool TRANSPOSED> INLINE void read_matrices(u32 *out, const void *row) {
    u32 address = (u32)__cvta_generic_to_shared(row);
    if (N == 4 && TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(address) : "memory");
    else if (N == 4)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(address) : "memory");
    else if (TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                     : "=r"(out[0]), "=r"(out[1]) : "r"(address) : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                     : "=r"(out[0]), "=r"(out[1]) : "r"(address) : "memory");
}

INLINE void multiply_bf16(Sums &c, const Left &a, const Right &b) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c.v[0]), "+f"(c.v[1]), "+f"(c.v[2]), "+f"(c.v[3])
                 : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b.r[0]), "r"(b.r[1]));
}

INLINE void multiply_tf32(Sums &c, const Left &a, const Right &b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c.v[0]), "+f"(c.v[1]), "+f"(c.v[2]), "+f"(c.v[3])
                 : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b.r[0]), "r"(b.r[1]));
}

INLINE u32 to_tf32(float x) {
    u32 bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
}

#endif

// What operands are multiplied in. The define PRODUCT is one of these.
enum : u32 { PRODUCT_BF16 = 0, PRODUCT_F32 = 1, PRODUCT_TF32 = 2 };

template <u32 P> struct Element {
    typedef float Type;
};
template <> struct Element<PRODUCT_BF16> {
    typedef u16 Type;
};

// A value's part that ten bits of fraction hold, and the same of what is left.
INLINE void split(u32 bits, u32 &large, u32 &small) {
    float x = __uint_as_float(bits);
    large = to_tf32(x);
    small = to_tf32(x - __uint_as_float(large));
}

// c += a times b. In PRODUCT_F32 both are split in two parts of ten bits: three products keep all but the last bits of
// a 32-bit float, at the speed of tensor cores.
template <u32 P> INLINE void multiply(Sums &c, const Left &a, const Right &b) {
    if constexpr (P == PRODUCT_BF16) {
        multiply_bf16(c, a, b);
    } else {
        Left large_a, small_a;
        Right large_b, small_b;
#pragma unroll
        for (int i = 0; i < 4; i++) split(a.r[i], large_a.r[i], small_a.r[i]);
#pragma unroll
        for (int i = 0; i < 2; i++) split(b.r[i], large_b.r[i], small_b.r[i]);
        if constexpr (P == PRODUCT_F32) {
            multiply_tf32(c, small_a, large_b);
            multiply_tf32(c, large_a, small_b);
        }
        multiply_tf32(c, large_a, large_b);
    }
}
