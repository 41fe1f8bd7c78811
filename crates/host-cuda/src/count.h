// What kernels that are compiled for counting tell the driver; count.cpp says what comes of it.
#pragma once

namespace host {

// Where a block's threads keep things. What lies elsewhere, and in no memory of the device, is not counted.
struct Places {
    const unsigned char *stacks, *stacks_end, *shared, *shared_end, *fixed, *fixed_end, *block, *block_end;
    // The host's own variable among those of fixed shared memory.
    const void *own;
    // Of the library: addresses of code count from here.
    const unsigned char *code;
};

} // namespace host

extern "C" {
// The calling OS thread runs a block of so many threads from here on.
void host_count_block(const host::Places *, unsigned threads);
// The block's thread that runs from here on; none when it is `HOST_COUNT_NOBODY`.
void host_count_thread(unsigned thread);
// All lanes of a warp wait or are done: what they did since the last call was done side by side.
void host_count_warp(unsigned lanes);
// A block passed a barrier.
void host_count_barrier();
// A thread of a warp shows so many bytes to the others.
void host_count_exchange(unsigned bytes);
// A thread asks for an asynchronous copy of 16 bytes; from nowhere where zeros are written.
void host_count_copy(void *shared, const void *global);
// The calling OS thread has no more blocks of this launch.
void host_count_done();
}

const unsigned HOST_COUNT_NOBODY = ~0u;
