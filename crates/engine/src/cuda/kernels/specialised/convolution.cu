// Convolution, and the gradient of its input, with everything known but the number of images: products of matrices, SLOTS
// results x CHANNELS channels a tile. A block goes on from tile to tile; while one is computed the next ones' source
// pixels are copied to shared memory. Results go from registers to memory: the order of the weights' channels is such
// that a lane's sums are neighbouring channels.
#include "convolution_args.cuh"

struct Pack {
    const float *weights;
    void *packed;
    u64 count;
};

// Which of a block's channels row r of the packed weights is: a lane has rows 8 j + 2 (lane % 4) and the next of each
// tile j, and these shall be neighbours.
CONSTEXPR u32 channel_of_row(u32 r) {
    return r / WARP_CHANNELS * WARP_CHANNELS + r % 8 / 2 * LANE + r % WARP_CHANNELS / 8 * 2 + r % 2;
}

// From [out][in][k][k] to [block][chunk][tap][row][value of the chunk], zeros where there is none.
KERNEL(pack_convolution, Pack, 256) {
    u64 i = (u64)blockIdx.x * 256 + threadIdx.x;
    if (i >= a.count) return;
    u32 value = i % CHUNK, row = i / CHUNK % CHANNELS;
    u32 rest = i / (CHUNK * CHANNELS), tap = rest % WINDOW_TAPS;
    rest /= WINDOW_TAPS;
    u32 k = rest % CHUNKS * CHUNK + value, n = rest / CHUNKS * CHANNELS + channel_of_row(row);
    float w = 0.0f;
    if (k < SOURCE_C && n < RESULT_C) {
        u64 at = BACKWARD ? (u64)k * RESULT_C + n : (u64)n * SOURCE_C + k;
        w = a.weights[at * WINDOW_TAPS + tap];
    }
    if constexpr (PRODUCT == PRODUCT_BF16) ((u16 *)a.packed)[i] = float_to_bf16(w);
    else ((float *)a.packed)[i] = w;
}

// What a block has in shared memory, for class CLASS or all.
template <int CLASS> struct Room {
    typedef Region<CLASS> R;
    static constexpr bool ONE = CLASS != ALL;
    enum : u32 {
        TAPS = ONE ? reach_of(CLASS / SIDE_CLASSES).taps * reach_of(CLASS % SIDE_CLASSES).taps : WINDOW_TAPS,
        // A class without taps: nothing is read, the results are 0.
        EMPTY = TAPS == 0,
        STEPS = EMPTY ? 1 : CHUNKS,
        REGION = R::PIXELS * Source::PITCH,
        WEIGHTS = TAPS * CHANNELS * Source::PITCH,
        STAGE = REGION + (HELD ? 0 : WEIGHTS),
        // Raw values are done with when they are transformed: before those of the last stage are asked for.
        RAWS = SOURCE_HOW == CORRECTED && Source::ASYNC ? (STAGES > 1 ? STAGES - 1 : 1) : 0,
        HELD_BYTES = HELD ? STEPS * WEIGHTS : 0,
        LOADS = (R::LOADED + Source::PIXELS - 1) / Source::PIXELS
    };
    static_assert(LOADS <= 32, "one bit for each vector of a thread");
};

// Which of the window's taps the t-th of a block's is.
template <int CLASS> CONSTEXPR u32 window_tap_of(u32 t) {
    if (CLASS == ALL) return t;
    Reach h = reach_of(CLASS / SIDE_CLASSES), w = reach_of(CLASS % SIDE_CLASSES);
    return w.taps == 0 ? 0 : window_tap(h, t / w.taps) * KERNEL_SIZE + window_tap(w, t % w.taps);
}

// Asks for the weights of a chunk.
template <int CLASS> INLINE void ask_for_weights(u8 *to, const Convolution &a, u32 chunk) {
    constexpr u32 VECTORS = Source::VECTORS, COUNT = Room<CLASS>::TAPS * CHANNELS * VECTORS;
    const u8 *packed = (const u8 *)a.weights + (u64)(blockIdx.y * CHUNKS + chunk) * WINDOW_TAPS * CHANNELS * VECTORS * 16;
    for (u32 i = threadIdx.x; i < COUNT; i += THREADS) {
        u32 row = i / VECTORS, tap = window_tap_of<CLASS>(row / CHANNELS);
        const u8 *from = packed + ((tap * CHANNELS + row % CHANNELS) * VECTORS + i % VECTORS) * 16;
        copy_async_16(to + row * Source::PITCH + i % VECTORS * 16, from, true);
    }
}

// Asks for a step's source pixels (and raw values), and its weights where they are not held; one bit for each vector that is valid.
template <int CLASS> INLINE u32 ask(u8 *stage, u8 *raw, const Convolution &a, u32 tile, u32 chunk) {
    typedef Room<CLASS> Of;
    typedef typename Of::R R;
    u32 valid = 0;
    if constexpr (!Of::EMPTY) {
        Corner corner = R::corner(tile);
        u64 first = (u64)corner.pixel * SOURCE_C;
        u32 thread = Source::thread(), c = Source::channel(chunk, thread), place = Source::vector(thread) * 16;
        typename Source::Kept kept{};
        if constexpr (!Source::ASYNC) kept = Source::factors(a.factors, chunk);
#pragma unroll
        for (u32 l = 0; l < Of::LOADS; l++) {
            u32 i = Source::pixel(thread) + l * Source::PIXELS, pixel;
            if (!Source::template loads<R::LOADED>(l, thread)) break;
            bool inside = R::source(corner, i, a.images, pixel);
            u32 at = R::position(i) * Source::PITCH + place;
            u64 element = first + pixel * SOURCE_C;
            inside = Source::load(stage + at, raw + at, a.source, a.raw, kept, element, c, inside);
            valid |= (u32)inside << l;
        }
        if constexpr (!HELD) ask_for_weights<CLASS>(stage + Of::REGION, a, chunk);
    }
    return valid;
}

// Makes operands of what this thread's copies brought.
template <int CLASS> INLINE void transform(u8 *stage, const u8 *raw, const typename Source::Kept &kept, u32 valid) {
    typedef Room<CLASS> Of;
    typedef typename Of::R R;
    if constexpr (Source::TRANSFORMS && !Of::EMPTY) {
        u32 thread = Source::thread();
        u32 place = Source::vector(thread) * 16;
#pragma unroll 2
        for (u32 l = 0; l < Of::LOADS; l++) {
            if (!Source::template loads<R::LOADED>(l, thread)) break;
            u32 at = R::position(Source::pixel(thread) + l * Source::PIXELS) * Source::PITCH + place;
            Source::transform(stage + at, raw + at, kept, valid >> l & 1);
        }
    }
}

// Adds the products of a step for class (RH, RW). `slots`: this lane's rows in the region; `weights`: its row in those.
template <int CLASS, u32 RH, u32 RW> INLINE void multiply_step(Tiles &sums, const u8 *const (&slots)[TILES_M], const u8 *weights) {
    constexpr Reach h = reach_of(RH), w = reach_of(RW);
    constexpr u32 DEPTHS = CHUNK * Source::BYTES / 32;
#pragma unroll
    for (u32 t = 0; t < h.taps * w.taps; t++) {
        u32 i = t / (w.taps ? w.taps : 1), j = t % (w.taps ? w.taps : 1);
        u32 tap = CLASS == ALL ? window_tap(h, i) * KERNEL_SIZE + window_tap(w, j) : t;
        u32 offset = Region<CLASS>::offset(RH, RW, i, j) * Source::PITCH, from = tap * CHANNELS * Source::PITCH;
#pragma unroll
        for (u32 d = 0; d < DEPTHS; d++) {
            Left left[TILES_M];
#pragma unroll
            for (u32 m = 0; m < TILES_M; m++) read_matrices<4, false>(left[m].r, slots[m] + offset + d * 32);
#pragma unroll
            for (u32 n = 0; n < TILES_N; n += 2) {
                u32 both[4];
                read_matrices<4, false>(both, weights + from + n * 8 * Source::PITCH + d * 32);
                Right first = {{both[0], both[1]}}, second = {{both[2], both[3]}};
#pragma unroll
                for (u32 m = 0; m < TILES_M; m++) {
                    multiply<PRODUCT>(sums[m][n], left[m], first);
                    multiply<PRODUCT>(sums[m][n + 1], left[m], second);
                }
            }
        }
    }
}

#include "convolution_results.cuh"

// The products of one class of all, from a region for all.
template <u32 CLASS> INLINE void multiply_class(u32 which, Tiles &sums, const u8 *const (&slots)[TILES_M], const u8 *weights) {
    if constexpr (CLASS < CLASSES) {
        if (which == CLASS) multiply_step<ALL, CLASS / SIDE_CLASSES, CLASS % SIDE_CLASSES>(sums, slots, weights);
        else multiply_class<CLASS + 1>(which, sums, slots, weights);
    }
}

// A block's steps: one chunk of source channels of one tile each, in the order of its pieces.
struct Steps {
    u32 piece, tile, chunk;

    INLINE explicit Steps(u32 first) : piece(first), tile(first * PIECE), chunk(0) {}

    INLINE u32 end_of_piece(const Convolution &a) const { return min((piece + 1) * PIECE, a.tiles); }

    // The next one; true where a piece ended.
    template <u32 COUNT> INLINE bool next(const Convolution &a) {
        if (COUNT > 1 && ++chunk < COUNT) return false;
        chunk = 0;
        if (++tile < end_of_piece(a)) return false;
        piece += gridDim.x;
        tile = piece * PIECE;
        return true;
    }
};

// What a block does, for one class or (ALL) for all.
template <int CLASS> INLINE void run(const Convolution &a) {
    typedef Room<CLASS> Of;
    u32 lane = lane_id(), warp = threadIdx.x / 32, m = warp % WARPS_M, n = warp / WARPS_M;
    u8 *held = shared_memory(), *stages = held + Of::HELD_BYTES;
    u8 *raws = stages + STAGES * Of::STAGE;
    float *room = (float *)(raws + Of::RAWS * Of::REGION);
    // Of two tiles of eight rows: first half, second half, first half, second half of 32 bytes.
    u32 weights_at = (n * WARP_CHANNELS + lane / 16 * 8 + lane % 8) * Source::PITCH + lane / 8 % 2 * 16;
    u32 slots_at[TILES_M];
#pragma unroll
    for (u32 i = 0; i < TILES_M; i++)
        slots_at[i] = Of::R::slot((m * TILES_M + i) * 16 + lane % 16) * Source::PITCH + lane / 16 * 16;
    Piece piece;
    piece.begin();
    if constexpr (HELD) {
        for (u32 chunk = 0; chunk < Of::STEPS; chunk++) ask_for_weights<CLASS>(held + chunk * Of::WEIGHTS, a, chunk);
    }
    Steps now(blockIdx.x), ahead(blockIdx.x);
    u32 valid[STAGES] = {};
#pragma unroll
    for (u32 s = 0; s + 1 < STAGES; s++) {
        if (ahead.piece < a.pieces) {
            valid[s] = ask<CLASS>(stages + s * Of::STAGE, raws + s * Of::REGION, a, ahead.tile, ahead.chunk);
            ahead.template next<Of::STEPS>(a);
        }
        copy_async_commit();
    }
    Tiles sums = {};
    u32 current = 0, raw_at = 0;
    while (now.piece < a.pieces) {
        u8 *stage = stages + current * Of::STAGE, *raw = raws + raw_at * Of::REGION;
        // Factors are read again for every step: registers are for sums meanwhile.
        typename Source::Kept kept = Source::factors(a.factors, now.chunk);
        if constexpr (STAGES == 1) {
            __syncthreads();
            valid[0] = ask<CLASS>(stage, raw, a, now.tile, now.chunk);
            copy_async_commit();
        }
        copy_async_wait<(STAGES > 2 ? STAGES - 2 : 0)>();
        transform<CLASS>(stage, raw, kept, valid[0]);
        __syncthreads();
        if constexpr (STAGES > 1) {
            // The stage that was read last is free: all threads are done with it.
#pragma unroll
            for (u32 s = 0; s + 1 < STAGES; s++) valid[s] = valid[s + 1];
            u32 free = current == 0 ? STAGES - 1 : current - 1;
            if (ahead.piece < a.pieces) {
                valid[STAGES - 2] = ask<CLASS>(stages + free * Of::STAGE, raw, a, ahead.tile, ahead.chunk);
                ahead.template next<Of::STEPS>(a);
            }
            copy_async_commit();
            current = current + 1 == STAGES ? 0 : current + 1;
            raw_at = raw_at + 1 >= STAGES - 1 ? 0 : raw_at + 1;
        }
        const u8 *slots[TILES_M];
#pragma unroll
        for (u32 i = 0; i < TILES_M; i++) slots[i] = stage + slots_at[i];
        const u8 *weights = (HELD ? held + now.chunk * Of::WEIGHTS : stage + Of::REGION) + weights_at;
        u32 tile = now.tile, of = now.piece;
        if constexpr (CLASS == ALL && CLASSES > 1) {
            // One after the other, so that the sums of one are kept at a time.
#pragma unroll 1
            for (u32 which = 0; which < CLASSES; which++) {
                Tiles of_class = {};
                multiply_class<0>(which, of_class, slots, weights);
                end_tile(a, piece, of_class, tile, which / SIDE_CLASSES, which % SIDE_CLASSES);
            }
        } else {
            constexpr u32 ONE = CLASS == ALL ? 0 : CLASS, RH = ONE / SIDE_CLASSES, RW = ONE % SIDE_CLASSES;
            multiply_step<CLASS, RH, RW>(sums, slots, weights);
            if (now.chunk + 1 == Of::STEPS) {
                end_tile(a, piece, sums, tile, RH, RW);
#pragma unroll
                for (u32 i = 0; i < TILES_M; i++)
#pragma unroll
                    for (u32 j = 0; j < TILES_N; j++) sums[i][j] = Sums{};
            }
        }
        bool ended = now.template next<Of::STEPS>(a);
        if constexpr (SUMS) {
            if (ended) write_piece(a, room, piece, CLASS > 0 ? CLASS * a.pieces + of : of);
        }
    }
}

// A block for each class where a region is loaded in chunks, so that sums of one class are kept at a time.
template <int CLASS> INLINE void run_class(const Convolution &a) {
    if constexpr (CLASS < (int)CLASSES) {
        if (blockIdx.z == CLASS) run<CLASS>(a);
        else run_class<CLASS + 1>(a);
    }
}

KERNEL_OF(convolution, Convolution, THREADS, BLOCKS) {
    if constexpr (CLASSES == 1 || CHUNKS == 1) run<ALL>(a);
    else run_class<0>(a);
}
