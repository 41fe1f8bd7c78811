// Counts what a GPU would be asked for: sectors of global memory, wavefronts of shared memory, idle lanes.
//
// Kernels are compiled with the instrumentation of the thread sanitiser and of coverage, whose calls arrive here instead:
// every load and store with its address, and every basic block that a thread enters. Threads of a warp run one after the
// other, so what they did is kept, and put side by side when all of them wait: of what the lanes do next, that with the
// lowest address in the code is done first, by all lanes that are there. Blocks keep the order of the source, so that is
// where lanes that went apart meet again on a GPU, too.
#include "count.h"
#include "driver.h"
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

const unsigned LANES = 32, THREADS = 1024, SECTOR = 32, BANKS = 32, WORD = 4;

enum Kind : uint8_t { BLOCK, GLOBAL_LOAD, GLOBAL_STORE, SHARED_LOAD, SHARED_STORE, KINDS };
const char *const NAMES[KINDS] = {"block", "global_load", "global_store", "shared_load", "shared_store"};

// What a thread did. The place: address of the code in the kernel, and within a function that it calls there.
struct Event {
    uint64_t place, address;
    uint32_t bytes;
    Kind kind;
};

// Instructions of warps; lanes that took part; of global memory sectors, of shared memory wavefronts, and how many would
// do for the same bytes.
struct Sum {
    uint64_t instructions = 0, lanes = 0, units = 0, least = 0;

    void add(const Sum &o) { instructions += o.instructions, lanes += o.lanes, units += o.units, least += o.least; }
};

typedef std::map<std::pair<uint64_t, Kind>, Sum> Sites;

// An access of shared memory by some lanes.
struct Wide {
    unsigned count = 0, lane_of[LANES], bytes;
    uint64_t address[LANES], place;
    Kind kind;
};

// A piece of the device's memory, with a bit for each of its bytes that was read, and one for each that was written.
struct Piece {
    uintptr_t begin, end;
    std::unique_ptr<std::atomic<uint32_t>[]> touched[2];
};

struct Launch {
    std::mutex mutex;
    std::vector<Piece> pieces;
    Sites sites;
    std::map<unsigned, uint64_t> exchanges;
    uint64_t barriers = 0, steps = 0;
};

std::mutex one_launch, to_file;
Launch *launch;

// What an OS thread that runs blocks has seen.
struct Recorder {
    host::Places places;
    unsigned current = HOST_COUNT_NOBODY, first = 0;
    std::vector<Event> lanes[LANES];
    // The last access of shared memory, not counted yet.
    Wide wide{};
    // Of each thread of the block: functions entered, and where the first two were called.
    unsigned depth[THREADS];
    uint32_t called[THREADS][2];
    std::unordered_map<uint64_t, Sum> sites[KINDS];
    std::map<unsigned, uint64_t> exchanges;
    uint64_t barriers = 0, steps = 0;
    Piece *last = nullptr;

    bool within(const void *p, const unsigned char *begin, const unsigned char *end) const { return p >= begin && p < end; }

    Piece *piece(uintptr_t at) {
        if (last && at >= last->begin && at < last->end) return last;
        auto &all = launch->pieces;
        auto next = std::upper_bound(all.begin(), all.end(), at, [](uintptr_t a, const Piece &p) { return a < p.begin; });
        if (next == all.begin() || at >= (next - 1)->end) return nullptr;
        return last = &*(next - 1);
    }

    uint64_t place(const void *code) const {
        uint32_t at = (const unsigned char *)code - places.code;
        switch (depth[current]) {
        case 0:
        case 1: return (uint64_t)at << 32;
        case 2: return (uint64_t)called[current][0] << 32 | at;
        default: return (uint64_t)called[current][0] << 32 | called[current][1];
        }
    }

    void keep(const void *code, Kind kind, const void *address, unsigned bytes) {
        lanes[current % LANES].push_back(Event{place(code), (uint64_t)address, bytes, kind});
    }

    void access(const void *code, const void *address, unsigned bytes, bool store) {
        if (current == HOST_COUNT_NOBODY || address == places.own || within(address, places.stacks, places.stacks_end)) return;
        if (within(address, places.shared, places.shared_end) || within(address, places.fixed, places.fixed_end))
            return keep(code, store ? SHARED_STORE : SHARED_LOAD, address, bytes);
        if (within(address, places.block, places.block_end) || !piece((uintptr_t)address)) return;
        keep(code, store ? GLOBAL_STORE : GLOBAL_LOAD, address, bytes);
    }

    void together(const Event *const *events, const unsigned *lane_of, unsigned count);
    void share(const Event *const *events, const unsigned *lane_of, unsigned count);
    void count_wide();
    void merge(unsigned n);
};

thread_local Recorder recorder;

unsigned ones(uint32_t x) { return __builtin_popcount(x); }

// Sectors that lanes touch, and how many the same bytes would fill.
void count_sectors(Sum &sum, const Event *const *events, unsigned count, Piece *piece, unsigned which) {
    struct {
        uint64_t sector;
        uint32_t bytes;
    } seen[4 * LANES];
    unsigned n = 0, bytes = 0;
    for (unsigned i = 0; i < count; i++) {
        uint64_t at = events[i]->address, end = at + events[i]->bytes;
        while (at < end && n < 4 * LANES) {
            uint64_t sector = at / SECTOR, stop = std::min(end, (sector + 1) * SECTOR);
            uint32_t mask = (uint32_t)((((uint64_t)1 << (stop - at)) - 1) << at % SECTOR);
            unsigned k = n;
            while (k > 0 && seen[k - 1].sector != sector) k--;
            if (k == 0) seen[n++] = {sector, mask};
            else seen[k - 1].bytes |= mask;
            at = stop;
        }
    }
    for (unsigned k = 0; k < n; k++) {
        bytes += ones(seen[k].bytes);
        uint64_t at = seen[k].sector - piece->begin / SECTOR;
        auto &touched = piece->touched[which][at];
        if ((touched.load(std::memory_order_relaxed) & seen[k].bytes) != seen[k].bytes) touched |= seen[k].bytes;
    }
    sum.units += n;
    sum.least += (bytes + SECTOR - 1) / SECTOR;
}

// Wavefronts of shared memory: lanes in groups whose accesses fill all banks once; in each group words of one bank wait for
// each other.
void count_wavefronts(Sum &sum, const Wide &a) {
    unsigned lanes = a.bytes <= WORD ? LANES : a.bytes <= 8 ? LANES / 2 : LANES / 4;
    for (unsigned first = 0; first < LANES; first += lanes) {
        uint64_t words[4 * LANES];
        unsigned n = 0, in_bank[BANKS] = {}, most = 0;
        for (unsigned i = 0; i < a.count; i++) {
            if (a.lane_of[i] < first || a.lane_of[i] >= first + lanes) continue;
            uint64_t end = (a.address[i] + a.bytes + WORD - 1) / WORD;
            for (uint64_t w = a.address[i] / WORD; w < end && n < 4 * LANES; w++) {
                if (std::find(words, words + n, w) != words + n) continue;
                words[n++] = w;
                most = std::max(most, ++in_bank[w % BANKS]);
            }
        }
        sum.units += most;
        sum.least += (n + BANKS - 1) / BANKS;
    }
}

void Recorder::count_wide() {
    if (!wide.count) return;
    Sum &sum = sites[wide.kind][wide.place];
    sum.instructions++;
    sum.lanes += wide.count;
    count_wavefronts(sum, wide);
    wide.count = 0;
}

// NVIDIA's compiler knows how shared memory is aligned, and makes one access of 8 or 16 bytes of those of neighbouring words
// that follow each other. Of global memory it knows no more than the types say.
void Recorder::share(const Event *const *events, const unsigned *lane_of, unsigned count) {
    unsigned bytes = events[0]->bytes, both = wide.bytes + bytes, aligned = both <= 8 ? 8 : 16;
    bool follows = wide.count == count && wide.kind == events[0]->kind && both <= 16;
    for (unsigned i = 0; follows && i < count; i++)
        follows = wide.lane_of[i] == lane_of[i] && wide.address[i] + wide.bytes == events[i]->address && wide.address[i] % aligned == 0;
    if (follows) {
        wide.bytes = both;
        return;
    }
    count_wide();
    wide.count = count, wide.bytes = bytes, wide.kind = events[0]->kind, wide.place = events[0]->place;
    for (unsigned i = 0; i < count; i++) wide.lane_of[i] = lane_of[i], wide.address[i] = events[i]->address;
}

// What lanes do at the same time.
void Recorder::together(const Event *const *events, const unsigned *lane_of, unsigned count) {
    Kind kind = events[0]->kind;
    if (kind == BLOCK) {
        steps++;
        return;
    }
    if (kind == SHARED_LOAD || kind == SHARED_STORE) return share(events, lane_of, count);
    Sum &sum = sites[kind][events[0]->place];
    sum.instructions++;
    sum.lanes += count;
    // Lanes read from one tensor at a time; should they not, each tensor is a case of its own.
    for (unsigned begin = 0, end; begin < count; begin = end) {
        Piece *p = piece(events[begin]->address);
        for (end = begin + 1; end < count && events[end]->address - p->begin < p->end - p->begin;) end++;
        count_sectors(sum, events + begin, end - begin, p, kind == GLOBAL_STORE);
    }
}

void Recorder::merge(unsigned n) {
    size_t next[LANES] = {};
    for (;;) {
        const Event *events[LANES], *lowest = nullptr;
        auto before = [](const Event *a, const Event *b) { return a->place != b->place ? a->place < b->place : a->kind < b->kind; };
        for (unsigned i = 0; i < n; i++) {
            if (next[i] == lanes[i].size()) continue;
            const Event *e = &lanes[i][next[i]];
            if (!lowest || before(e, lowest)) lowest = e;
        }
        if (!lowest) break;
        unsigned lane_of[LANES], count = 0;
        for (unsigned i = 0; i < n; i++) {
            if (next[i] == lanes[i].size()) continue;
            const Event *e = &lanes[i][next[i]];
            if (e->place == lowest->place && e->kind == lowest->kind) {
                events[count] = e, lane_of[count++] = i;
                next[i]++;
            }
        }
        together(events, lane_of, count);
    }
    for (unsigned i = 0; i < n; i++) lanes[i].clear();
    count_wide();
}

std::string text(const char *name, const Sum &s) {
    char room[256];
    snprintf(room, sizeof room, "\"%s\":{\"instructions\":%llu,\"lanes\":%llu,\"units\":%llu,\"least\":%llu", name,
             (unsigned long long)s.instructions, (unsigned long long)s.lanes, (unsigned long long)s.units,
             (unsigned long long)s.least);
    return room;
}

// Sectors that hold all bytes of the launch that were read, or written.
uint64_t touched(const Launch &l, unsigned which) {
    uint64_t bytes = 0;
    for (auto &p : l.pieces)
        for (size_t i = 0; i < (p.end - p.begin + SECTOR - 1) / SECTOR; i++) bytes += ones(p.touched[which][i]);
    return (bytes + SECTOR - 1) / SECTOR;
}

std::string line(const Launch &l, const CountedLaunch &what) {
    std::string out = "{\"kernel\":\"" + std::string(what.kernel) + "\",\"grid\":[" + std::to_string(what.grid[0]) + "," +
                      std::to_string(what.grid[1]) + "," + std::to_string(what.grid[2]) + "],\"threads\":" +
                      std::to_string(what.threads) + ",\"shared\":" + std::to_string(what.shared) +
                      ",\"library\":\"" + what.library + "\",\"barriers\":" + std::to_string(l.barriers) + ",\"steps\":" +
                      std::to_string(l.steps);
    Sum sums[KINDS];
    for (auto &s : l.sites) sums[s.first.second].add(s.second);
    for (unsigned k = GLOBAL_LOAD; k < KINDS; k++) {
        out += "," + text(NAMES[k], sums[k]);
        if (k <= GLOBAL_STORE) out += ",\"launch_least\":" + std::to_string(touched(l, k == GLOBAL_STORE));
        out += "}";
    }
    out += ",\"exchanges\":{";
    const char *between = "";
    for (auto &e : l.exchanges) {
        out += between + ("\"" + std::to_string(e.first) + "\":") + std::to_string(e.second);
        between = ",";
    }
    out += "},\"sites\":[";
    between = "";
    for (auto &s : l.sites) {
        // The call's return address is behind it; a byte less is within.
        uint64_t inner = s.first.first & 0xffffffff, at = (inner ? inner : s.first.first >> 32) - 1;
        out += between + ("{" + text(NAMES[s.first.second], s.second)) + "},\"at\":" + std::to_string(at) + "}";
        between = ",";
    }
    return out + "]}\n";
}

} // namespace

const char *count_file() {
    const char *name = getenv("MLAAN_HOST_CUDA_COUNT");
    return name && *name ? name : nullptr;
}

void count_begin(const std::map<void *, size_t> &blocks) {
    one_launch.lock();
    launch = new Launch;
    for (auto &b : blocks) {
        Piece p{(uintptr_t)b.first, (uintptr_t)b.first + b.second, {}};
        size_t sectors = (b.second + SECTOR - 1) / SECTOR;
        for (auto &t : p.touched) t.reset(new std::atomic<uint32_t>[sectors]());
        launch->pieces.push_back(std::move(p));
    }
}

void count_end(const CountedLaunch &what) {
    if (FILE *f = fopen(count_file(), "a")) {
        std::string l = line(*launch, what);
        fwrite(l.data(), 1, l.size(), f);
        fclose(f);
    } else {
        fprintf(stderr, "host CUDA: %s cannot be written to\n", count_file());
    }
    delete launch;
    launch = nullptr;
    one_launch.unlock();
}

extern "C" {

void host_count_block(const host::Places *places, unsigned threads) {
    recorder.places = *places;
    std::fill(recorder.depth, recorder.depth + threads, 0u);
}

void host_count_thread(unsigned thread) { recorder.current = thread; }
void host_count_warp(unsigned lanes) { recorder.merge(lanes); }
void host_count_barrier() { recorder.barriers++; }

void host_count_exchange(unsigned bytes) {
    if (recorder.current % LANES == 0) recorder.exchanges[bytes]++;
}

void host_count_copy(void *shared, const void *global) {
    const void *code = __builtin_return_address(0);
    if (global) recorder.access(code, global, 16, false);
    recorder.access(code, shared, 16, true);
}

void host_count_done() {
    Recorder &r = recorder;
    std::lock_guard<std::mutex> held(launch->mutex);
    for (unsigned k = 0; k < KINDS; k++) {
        for (auto &s : r.sites[k]) launch->sites[{s.first, (Kind)k}].add(s.second);
        r.sites[k].clear();
    }
    for (auto &e : r.exchanges) launch->exchanges[e.first] += e.second;
    r.exchanges.clear();
    launch->barriers += r.barriers;
    launch->steps += r.steps;
    r.barriers = r.steps = 0;
    r.last = nullptr;
}

// Calls that the compiler adds to kernels.

void __tsan_init() {}

void __tsan_func_entry(void *caller) {
    Recorder &r = recorder;
    if (r.current == HOST_COUNT_NOBODY) return;
    unsigned depth = ++r.depth[r.current];
    if (depth == 2 || depth == 3) r.called[r.current][depth - 2] = (const unsigned char *)caller - r.places.code;
}

void __tsan_func_exit() {
    Recorder &r = recorder;
    if (r.current != HOST_COUNT_NOBODY && r.depth[r.current]) r.depth[r.current]--;
}

void __sanitizer_cov_trace_pc() {
    if (recorder.current != HOST_COUNT_NOBODY) recorder.keep(__builtin_return_address(0), BLOCK, nullptr, 0);
}

#define ACCESS(name, bytes, store) \
    void name(void *p) { recorder.access(__builtin_return_address(0), p, bytes, store); }
#define ACCESSES(bytes)                                    \
    ACCESS(__tsan_read##bytes, bytes, false)               \
    ACCESS(__tsan_write##bytes, bytes, true)               \
    ACCESS(__tsan_volatile_read##bytes, bytes, false)      \
    ACCESS(__tsan_volatile_write##bytes, bytes, true)      \
    ACCESS(__tsan_unaligned_read##bytes, bytes, false)     \
    ACCESS(__tsan_unaligned_write##bytes, bytes, true)
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

void __tsan_read_range(void *p, size_t bytes) { recorder.access(__builtin_return_address(0), p, bytes, false); }
void __tsan_write_range(void *p, size_t bytes) { recorder.access(__builtin_return_address(0), p, bytes, true); }
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}

// Of the host's own counters.
unsigned __tsan_atomic32_fetch_add(std::atomic<unsigned> *a, unsigned v, int) { return a->fetch_add(v); }
unsigned long long __tsan_atomic64_fetch_add(std::atomic<unsigned long long> *a, unsigned long long v, int) { return a->fetch_add(v); }
unsigned long long __tsan_atomic64_load(const std::atomic<unsigned long long> *a, int) { return a->load(); }
void __tsan_atomic64_store(std::atomic<unsigned long long> *a, unsigned long long v, int) { a->store(v); }

} // extern "C"
