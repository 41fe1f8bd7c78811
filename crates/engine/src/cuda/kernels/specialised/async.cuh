// Copies from global to shared memory that go on beside computing (cp.async, compute capability 8.0 and later). A thread's
// copies fall into groups; waiting for a group shows what it copied to that thread, and a barrier to the others.
#pragma once
#include "common.cuh"

// On the processor host.h has these: what a copy brings is there after its wait, and not a moment sooner.
#ifndef MLAAN_HOST

// 16 bytes, zeros where not valid. `global` is an address that may be read in either case; both are multiples of 16.
INLINE void copy_async_16(void *shared, const void *global, bool valid) {
    u32 to = (u32)__cvta_generic_to_shared(shared), bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes) : "memory");
}

// Ends a group.
INLINE void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most N groups, the last ones, are still under way.
template <int N> INLINE void copy_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

#endif
