// Stands in for CUDA's built-ins when kernel sources are compiled for the processor (force-included), and runs their
// blocks: every thread is a fiber of its own, barriers switch between them.
//
// Between barriers threads run one after the other, in an order that MLAAN_HOST_CUDA_ORDER sets (forward, reverse,
// shuffle; without it each launch takes another): what depends on it lacks a barrier.
//
// It is read for every kernel that is compiled, and the standard library's threads, mutexes and vectors take longer to read than
// a kernel to compile: there are none here.
#pragma once
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <link.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

struct Extent3 {
    unsigned x, y, z;
};
struct alignas(8) float2 { float x, y; };
struct alignas(8) uint2 { unsigned x, y; };
#ifdef MLAAN_HOST_COUNT
#include "count.h"
// Four values go to memory in one access, as on a GPU; the compiler would take them apart.
typedef unsigned FourWords __attribute__((vector_size(16), may_alias));
#define FOUR(Type, Value)                                  \
    struct alignas(16) Type {                              \
        Value x, y, z, w;                                  \
        Type &operator=(const Type &o) {                   \
            *(FourWords *)this = *(const FourWords *)&o;   \
            return *this;                                  \
        }                                                  \
    };
FOUR(float4, float)
FOUR(uint4, unsigned)
#undef FOUR
#define COUNT(call) host_count_##call
#else
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
#define COUNT(call)
#endif

namespace host {

enum Order : unsigned char { FORWARD, REVERSE, SHUFFLE };
enum State : unsigned char { READY, AT_WARP, AT_BLOCK, DONE };

const unsigned THREADS = 1024, LANES = 32, MAIL = 64, STACK = 64 << 10, SHARED = 227 << 10;
// From one stack to the next: were it a power of two, the tops of all would share a few sets of the cache.
const size_t APART = STACK + 9 * 64, STACKS = APART * THREADS;

// A copy that a thread has asked for, and the group of its copies that it belongs to.
struct Copy {
    void *to;
    const void *from;
    unsigned group;
};

// Copies in the order of their asking.
struct Copies {
    Copy *all;
    size_t count, room;

    void add(Copy copy) {
        if (count == room) {
            room = room ? 2 * room : 64;
            all = (Copy *)realloc(all, room * sizeof(Copy));
            if (!all) abort();
        }
        all[count++] = copy;
    }

    void forget_first(size_t n) {
        count -= n;
        memmove(all, all + n, count * sizeof(Copy));
    }
};

// What one block needs; one an OS thread.
struct Block {
    Extent3 grid, index, size;
    unsigned current;
    void (*kernel)(const void *);
    const void *arguments;
    void *scheduler;
    void *stack_pointer[THREADS];
    State state[THREADS];
    unsigned char *stacks, *shared, *end;
    Order order;
    // Two boxes a lane, used in turn: a lane is never two exchanges ahead of another of its warp.
    alignas(64) unsigned char mail[2][THREADS][MAIL];
    // Exchanges of each lane so far; of each warp the last whose values were combined, and what each lane gets of it.
    unsigned exchanges[THREADS], combined[THREADS / LANES];
    alignas(64) unsigned char shares[THREADS][MAIL];
    // Asynchronous copies of each thread, and how many groups it has closed.
    Copies copies[THREADS];
    unsigned closed[THREADS];
    const char *wrong;
    // Another that is not in use.
    Block *spare;

    Block() : copies() {
        size_t page = sysconf(_SC_PAGESIZE), room = (SHARED + page - 1) / page * page;
        size_t stacked = (STACKS + page - 1) / page * page, bytes = stacked + room + page;
        stacks = (unsigned char *)mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stacks == MAP_FAILED) abort();
        // Shared memory ends where a page does, and behind it lies one that nobody may touch.
        end = stacks + stacked + room;
        mprotect(end, page, PROT_NONE);
    }
};

static thread_local Block *block;

extern "C" void host_switch(void **from, void *to);
#if defined(__x86_64__)
asm(".text\n.globl host_switch\n.hidden host_switch\n.type host_switch,@function\nhost_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n.size host_switch,.-host_switch\n");
const unsigned SAVED = 6;
#elif defined(__aarch64__)
asm(".text\n.globl host_switch\n.hidden host_switch\n.type host_switch,%function\nhost_switch:\n"
    "sub sp,sp,#160\nstp x19,x20,[sp]\nstp x21,x22,[sp,#16]\nstp x23,x24,[sp,#32]\nstp x25,x26,[sp,#48]\n"
    "stp x27,x28,[sp,#64]\nstp x29,x30,[sp,#80]\nstp d8,d9,[sp,#96]\nstp d10,d11,[sp,#112]\nstp d12,d13,[sp,#128]\n"
    "stp d14,d15,[sp,#144]\nmov x2,sp\nstr x2,[x0]\nmov sp,x1\n"
    "ldp x19,x20,[sp]\nldp x21,x22,[sp,#16]\nldp x23,x24,[sp,#32]\nldp x25,x26,[sp,#48]\n"
    "ldp x27,x28,[sp,#64]\nldp x29,x30,[sp,#80]\nldp d8,d9,[sp,#96]\nldp d10,d11,[sp,#112]\nldp d12,d13,[sp,#128]\n"
    "ldp d14,d15,[sp,#144]\nadd sp,sp,#160\nret\n.size host_switch,.-host_switch\n");
const unsigned SAVED = 20;
#else
#error "fibers are written for x86-64 and 64-bit ARM"
#endif

// Leaves the running thread until the scheduler comes back to it.
__attribute__((noinline)) static void leave(State why) {
    Block *b = block;
    unsigned me = b->current;
    b->state[me] = why;
    host_switch(&b->stack_pointer[me], b->scheduler);
}

// Its code is not a kernel's, so it is not counted.
__attribute__((no_sanitize("thread"))) static void run_thread() {
    block->kernel(block->arguments);
    leave(DONE);
    abort();
}

static void prepare(Block *b, unsigned thread) {
    void **top = (void **)(b->stacks + APART * thread + STACK - 64);
#if defined(__x86_64__)
    // As after a call: the stack ends 8 bytes off a multiple of 16.
    *--top = nullptr;
    *--top = (void *)run_thread;
    for (unsigned i = 0; i < SAVED; i++) *--top = nullptr;
#else
    top -= SAVED;
    for (unsigned i = 0; i < SAVED; i++) top[i] = nullptr;
    top[11] = (void *)run_thread;
#endif
    b->stack_pointer[thread] = top;
    b->state[thread] = READY;
    b->exchanges[thread] = b->combined[thread / LANES] = 0;
    b->copies[thread].count = 0;
    b->closed[thread] = 0;
}

static Order order_asked_for() {
    static std::atomic<unsigned> launches{0};
    const char *order = getenv("MLAAN_HOST_CUDA_ORDER");
    if (!order) return (Order)(launches++ % 3);
    if (!strcmp(order, "reverse")) return REVERSE;
    return !strcmp(order, "shuffle") ? SHUFFLE : FORWARD;
}

// The i-th of n in an order.
static unsigned nth(Order order, unsigned i, unsigned n) {
    if (order == REVERSE) return n - 1 - i;
    // 13 has no factor in common with the sizes of warps and blocks.
    return order == SHUFFLE ? (i * 13 + 7) % n : i;
}

static void resume(Block *b, unsigned thread) {
    b->current = thread;
    COUNT(thread(thread));
    host_switch(&b->scheduler, b->stack_pointer[thread]);
    COUNT(thread(HOST_COUNT_NOBODY));
}

// Runs a warp's threads until each is done or waits for the block; false when some wait for others that never come.
static bool run_warp(Block *b, unsigned first, unsigned lanes) {
    for (;;) {
        unsigned waiting = 0, others = 0;
        for (unsigned i = 0; i < lanes; i++) {
            unsigned thread = first + nth(b->order, i, lanes);
            if (b->state[thread] == READY) resume(b, thread);
        }
        COUNT(warp(lanes));
        for (unsigned i = 0; i < lanes; i++) (b->state[first + i] == AT_WARP ? waiting : others)++;
        if (waiting == 0) return true;
        if (others) return false;
        for (unsigned i = 0; i < lanes; i++) b->state[first + i] = READY;
    }
}

#ifdef MLAAN_HOST_COUNT
extern "C" const char host_counted = 1;

static Places places_of(const Block *b) {
    Places p{b->stacks, b->stacks + STACKS, b->shared, b->end};
    p.block = (const unsigned char *)b, p.block_end = p.block + sizeof(Block), p.own = &block;
    // Shared memory of fixed size is this library's own memory of this OS thread.
    dl_iterate_phdr([](dl_phdr_info *info, size_t, void *to) {
        Places &p = *(Places *)to;
        bool here = false;
        for (unsigned i = 0; i < info->dlpi_phnum; i++) {
            size_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            here |= info->dlpi_phdr[i].p_type == PT_LOAD && (size_t)&host_counted - begin < info->dlpi_phdr[i].p_memsz;
        }
        if (!here) return 0;
        p.code = (const unsigned char *)info->dlpi_addr;
        for (unsigned i = 0; i < info->dlpi_phnum; i++)
            if (info->dlpi_phdr[i].p_type == PT_TLS) {
                p.fixed = (const unsigned char *)info->dlpi_tls_data;
                p.fixed_end = p.fixed + info->dlpi_phdr[i].p_memsz;
            }
        return 1;
    }, &p);
    return p;
}

// While it lives the running thread's accesses are not counted.
struct Uncounted {
    Uncounted() { host_count_thread(HOST_COUNT_NOBODY); }
    ~Uncounted() { host_count_thread(block->current); }
};
#define UNCOUNTED host::Uncounted uncounted;
#else
#define UNCOUNTED
#endif

// Runs the block that `b` describes; what is wrong, or nothing.
static const char *run_block(Block *b, unsigned shared) {
    block = b;
    unsigned threads = b->size.x, warps = (threads + LANES - 1) / LANES;
    b->shared = b->end - (shared + 127) / 128 * 128;
    // Reading what was never written gives no number.
    memset(b->shared, 0xff, shared);
    b->wrong = nullptr;
#ifdef MLAAN_HOST_COUNT
    Places places = places_of(b);
    host_count_block(&places, threads);
#endif
    for (unsigned i = 0; i < threads; i++) prepare(b, i);
    for (;;) {
        for (unsigned i = 0; i < warps; i++) {
            unsigned first = nth(b->order, i, warps) * LANES, lanes = threads - first < LANES ? threads - first : LANES;
            if (!run_warp(b, first, lanes)) return "a warp's barrier is not reached by all of its threads";
            if (b->wrong) return b->wrong;
        }
        unsigned waiting = 0;
        for (unsigned i = 0; i < threads; i++) waiting += b->state[i] == AT_BLOCK;
        if (waiting == 0) return nullptr;
        if (waiting != threads) return "__syncthreads is not reached by all threads of the block";
        for (unsigned i = 0; i < threads; i++) b->state[i] = READY;
        COUNT(barrier());
    }
}

// Blocks that are not in use, kept for the next launch.
struct Spare {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    Block *first = nullptr;

    Block *take() {
        pthread_mutex_lock(&mutex);
        Block *b = first;
        if (b) first = b->spare;
        pthread_mutex_unlock(&mutex);
        return b ? b : new Block;
    }

    void give(Block *b) {
        pthread_mutex_lock(&mutex);
        b->spare = first;
        first = b;
        pthread_mutex_unlock(&mutex);
    }
};

static Spare spare;

struct Grid {
    Extent3 extents;
    unsigned threads, shared;
    Order order;
    void (*kernel)(const void *);
    const void *arguments;
    std::atomic<unsigned long long> next{0};
    std::atomic<const char *> wrong{nullptr};

    void work() {
        Block *b = spare.take();
        b->grid = extents;
        b->size = Extent3{threads, 1, 1};
        b->order = order;
        b->kernel = kernel;
        b->arguments = arguments;
        unsigned long long count = (unsigned long long)extents.x * extents.y * extents.z;
        for (unsigned long long i; (i = next++) < count && !wrong;) {
            b->index = Extent3{(unsigned)(i % extents.x), (unsigned)(i / extents.x % extents.y), (unsigned)(i / extents.x / extents.y)};
            if (const char *w = run_block(b, shared)) wrong = w;
        }
        COUNT(done());
        // A block that stopped half-way leaves threads behind; its memory is not used again.
        if (!wrong) spare.give(b);
    }
};

} // namespace host

// Runs a whole grid; what is wrong, or nothing. Called by the driver.
extern "C" const char *host_launch(void (*kernel)(const void *), const void *arguments, const unsigned *grid,
                                   unsigned threads, unsigned shared) {
    host::Grid g;
    g.extents = Extent3{grid[0], grid[1], grid[2]};
    g.threads = threads;
    g.shared = shared;
    g.order = host::order_asked_for();
    g.kernel = kernel;
    g.arguments = arguments;
    unsigned long long blocks = (unsigned long long)grid[0] * grid[1] * grid[2];
    const unsigned WORKERS = 4;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    pthread_t others[WORKERS];
    unsigned started = 0;
    while (started + 1 < WORKERS && started + 1 < processors && started + 1 < blocks &&
           !pthread_create(&others[started], nullptr, [](void *g) -> void * { ((host::Grid *)g)->work(); return nullptr; }, &g))
        started++;
    g.work();
    for (unsigned i = 0; i < started; i++) pthread_join(others[i], nullptr);
    return g.wrong;
}

// The body is part of the kernel also where it is large: what is counted has one order of addresses.
#define KERNEL(name, Args, threads)                                        \
    static inline __attribute__((always_inline)) void name##_body(const Args &a); \
    extern "C" {                                                           \
    extern const unsigned name##_size;                                     \
    const unsigned name##_size = sizeof(Args);                             \
    void name(const void *p) { name##_body(*(const Args *)p); }            \
    }                                                                      \
    static inline __attribute__((always_inline)) void name##_body(const Args &a)

#define __device__
#define __forceinline__ inline __attribute__((always_inline))
// One block at a time runs on an OS thread.
#define __shared__ static thread_local
#define __restrict__ __restrict
#define threadIdx (Extent3{host::block->current, 0, 0})
#define blockIdx (host::block->index)
#define blockDim (host::block->size)
#define gridDim (host::block->grid)

static inline unsigned char *shared_memory() { return host::block->shared; }
static inline void __syncthreads() { host::leave(host::AT_BLOCK); }
static inline void __syncwarp(unsigned = 0xffffffffu) { host::leave(host::AT_WARP); }

// The boxes of a warp's lanes, each with the value that its lane gave.
typedef unsigned char (*Boxes)[host::MAIL];

static inline void count_exchanges(unsigned n, unsigned bytes) {
    for (unsigned i = 0; i < n; i++) COUNT(exchange(bytes));
}

// As `warp_exchange`, but not counted.
template <class T> static inline Boxes warp_give(const T &mine) {
    static_assert(sizeof(T) <= host::MAIL, "a larger mailbox is needed");
    host::Block *b = host::block;
    unsigned me = b->current, turn = ++b->exchanges[me] % 2;
    memcpy(b->mail[turn][me], &mine, sizeof(T));
    host::leave(host::AT_WARP);
    return &b->mail[turn][me / host::LANES * host::LANES];
}

// Every lane of the warp gives a value and sees those of all, until its own next exchange.
template <class T> static inline Boxes warp_exchange(const T &mine) {
    count_exchanges(1, sizeof(T));
    return warp_give(mine);
}

// What a lane gave.
template <class T> static inline T given(Boxes boxes, unsigned lane) {
    T value;
    memcpy(&value, boxes[lane], sizeof(T));
    return value;
}

// Every lane of the warp gives a value, and gets its share of what `combine` makes of all: combine(boxes, shares), which the
// first lane that goes on runs. It is not counted.
template <class R, class T, class Combine> static inline R warp_combine(const T &mine, Combine combine) {
    static_assert(sizeof(R) <= host::MAIL, "a larger share is needed");
    Boxes boxes = warp_give(mine);
    UNCOUNTED
    host::Block *b = host::block;
    unsigned me = b->current, warp = me / host::LANES;
    if (b->combined[warp] != b->exchanges[me]) {
        b->combined[warp] = b->exchanges[me];
        combine(boxes, &b->shares[warp * host::LANES]);
    }
    return given<R>(&b->shares[warp * host::LANES], me % host::LANES);
}

template <class T> static inline T __shfl_sync(unsigned, T v, unsigned lane) {
    return given<T>(warp_exchange(v), lane % host::LANES);
}
template <class T> static inline T __shfl_xor_sync(unsigned mask, T v, unsigned lane) {
    return __shfl_sync(mask, v, host::block->current % host::LANES ^ lane);
}
template <class T> static inline T __shfl_down_sync(unsigned mask, T v, unsigned by) {
    unsigned lane = host::block->current % host::LANES;
    return __shfl_sync(mask, v, lane + by < host::LANES ? lane + by : lane);
}

// Copies 16 bytes from global to shared memory, or writes zeros where they are not `valid`, at some time up to the wait
// for their group. Here that is the wait itself; until then the place holds what is no number.
static __forceinline__ void copy_async_16(void *shared, const void *global, bool valid) {
    COUNT(copy(shared, valid ? global : nullptr));
    UNCOUNTED
    host::Block *b = host::block;
    if ((size_t)shared % 16 || (valid && (size_t)global % 16)) {
        b->wrong = "copy_async_16 takes addresses that are multiples of 16";
        return;
    }
    memset(shared, 0xff, 16);
    b->copies[b->current].add(host::Copy{shared, valid ? global : nullptr, b->closed[b->current]});
}

// Closes a group: the thread's copies since the last.
static inline void copy_async_commit() { host::block->closed[host::block->current]++; }

// Waits for all groups of the thread but the N that it closed last. What it copied is there for itself, and behind a
// barrier for others.
template <int N> static inline void copy_async_wait() {
    static_assert(N >= 0, "groups are counted from 0");
    UNCOUNTED
    host::Block *b = host::block;
    host::Copies &copies = b->copies[b->current];
    size_t done = 0;
    for (; done < copies.count && copies.all[done].group + N < b->closed[b->current]; done++) {
        const host::Copy &c = copies.all[done];
        if (c.from) memcpy(c.to, c.from, 16);
        else memset(c.to, 0, 16);
    }
    copies.forget_first(done);
}

static inline unsigned __float_as_uint(float x) { unsigned u; memcpy(&u, &x, 4); return u; }
static inline float __uint_as_float(unsigned u) { float x; memcpy(&x, &u, 4); return x; }
template <class T> static inline T __ldg(const T *p) { return *p; }
#define __expf expf
#define __logf logf
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
template <class T> static inline T min(T a, T b) { return b < a ? b : a; }
template <class T> static inline T max(T a, T b) { return a < b ? b : a; }
