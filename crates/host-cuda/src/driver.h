// Between the driver and what counts.
#pragma once
#include <cstddef>
#include <map>

// A launch that was counted.
struct CountedLaunch {
    const char *kernel, *library;
    const unsigned *grid;
    unsigned threads, shared;
};

// Where counts go, a line of JSON a launch: the file that MLAAN_HOST_CUDA_COUNT names; null where it names none.
const char *count_file();
// Around a launch; one at a time.
void count_begin(const std::map<void *, size_t> &blocks);
void count_end(const CountedLaunch &);
