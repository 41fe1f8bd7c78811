// The most that tensor cores can do: products that never leave the registers.
#include "tensor_core.cuh"

enum : u32 { THREADS = 256, CHAINS = 4 };

struct Peak {
    float *sums;
    u32 rounds, unused;
};

// `rounds` products of [16 x 16] with [16 x 8] in each of four chains a warp.
KERNEL(multiply_adds, Peak, THREADS) {
    Left left = {{0x3f803f80u, 0x3f003f80u, 0x3f803f00u, 0x3f003f00u + threadIdx.x}};
    Right right = {{0x3f003f80u, 0x3e803f80u}};
    Sums sums[CHAINS] = {};
    for (u32 i = 0; i < a.rounds; i++) {
#pragma unroll
        for (u32 k = 0; k < CHAINS; k++) multiply_bf16(sums[k], left, right);
    }
    float total = 0.0f;
    for (u32 k = 0; k < CHAINS; k++) total += sums[k].v[0] + sums[k].v[1] + sums[k].v[2] + sums[k].v[3];
    // Written where a compiler must believe that it may be wanted, and never is.
    if (total == -1.0f) a.sums[0] = total;
}
