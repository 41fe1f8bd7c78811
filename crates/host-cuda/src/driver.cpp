// The CUDA driver's functions over host memory: devices with contexts of their own, streams that do at once what they are
// asked for, and recordings of streams as graphs. Limits are checked as the real one checks them. With
// MLAAN_HOST_CUDA_LATE=1 streams do it as late as a GPU may: when somebody waits for them. Streams that are made after
// `host_cuda_shuffle` are late, too, and what they do beside each other is done in an order that is drawn from a seed, of all
// orders that events allow.
#include "driver.h"
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <dlfcn.h>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

typedef int Result;
enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    LAUNCH_FAILED = 719,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
    UPDATE_FAILURE = 910
};

const size_t SHARED_UNASKED = 48 << 10, SHARED_LIMIT = 227 << 10;

typedef const char *(*Launch)(void (*)(const void *), const void *, const unsigned *, unsigned, unsigned);

struct Module {
    // Of the device that it was loaded on.
    void *context;
    void *library;
    Launch launch;
    std::string counted;
    std::map<std::string, struct Function *> functions;
};

struct Function {
    void *context;
    std::string name;
    void (*kernel)(const void *);
    unsigned bytes;
    size_t shared;
    Launch launch;
    // Where its code lies, when it was compiled to be counted.
    std::string counted;
};

// Something that a stream does.
struct Node {
    enum Kind { KERNEL, COPY, SET, EVENT, WAIT } kind;
    Function *function;
    unsigned grid[3], threads, shared;
    std::vector<unsigned char> arguments;
    void *to;
    const void *from;
    size_t bytes;
    int value;
    // Bytes that were taken along when it was asked for, instead of `from`; the event that is reached behind it, or that it
    // waits for, and how often that had been recorded.
    std::shared_ptr<std::vector<unsigned char>> taken;
    struct Event *event;
    unsigned long long recorded;
};

struct Graph {
    std::vector<Node> nodes;
};

struct Stream {
    void *context;
    bool recording = false, broken = false, late = false;
    // How many streams of its device were made before it.
    int index = 0;
    Graph *graph = nullptr;
    // What was asked for and not done yet, where it is done late.
    std::deque<Node> queue;
};

// A place in a stream: how often it was recorded, and which of these was reached.
struct Event {
    unsigned long long recorded = 0, reached = 0;
    Stream *stream = nullptr;
};

const int MOST_DEVICES = 16;

static std::mutex all;
static std::map<void *, size_t> blocks;
// Whose they are, and bytes of them by device.
static std::map<void *, void *> owners;
static std::map<void *, size_t> in_use;
static Result fault = SUCCESS;
static int contexts[MOST_DEVICES];
static thread_local void *current = nullptr;
// Streams and what they put off, which may be done by a thread of another one.
static std::recursive_mutex queues;
// In the order in which they were made.
static std::vector<Stream *> streams;
// Whether streams run in orders that are drawn, the state of the draw, and what waits for events are left out: those of the
// first stream of a device (-1: none) for the second.
static bool shuffled = false;
static unsigned long long drawn = 0;
static int left_out[2] = {-1, -1};
// Host memory that is locked.
static std::map<const char *, size_t> locked;
// Calls so far: copies to the host, waits for a stream, copies from memory that is not locked, waits for an event, memory
// given back while its device had something to do, graphs that were built.
enum { DOWNLOADS, WAITS, PAGEABLE, EVENT_WAITS, EARLY_FREES, GRAPHS, CALLS };
static std::atomic<unsigned long long> calls[CALLS];

static size_t number(const char *variable, size_t otherwise) {
    const char *text = getenv(variable);
    return text ? strtoull(text, nullptr, 10) : otherwise;
}

static size_t total() { return number("MLAAN_HOST_CUDA_MEMORY", (size_t)4 << 30); }
static int devices() {
    size_t n = number("MLAAN_HOST_CUDA_DEVICES", 1);
    return n < (size_t)MOST_DEVICES ? (int)n : MOST_DEVICES;
}

// Whether a range lies in memory of the calling thread's device. A GPU could read another's, but nobody here means to.
static bool is_own(const void *at) {
    std::lock_guard<std::mutex> held(all);
    auto next = owners.upper_bound(const_cast<void *>(at));
    return next != owners.begin() && (--next)->second == current;
}

static Result run(const Node &n) {
    if (n.kind == Node::COPY) memcpy(n.to, n.taken ? n.taken->data() : n.from, n.bytes);
    if (n.kind == Node::EVENT && n.event->reached < n.recorded) n.event->reached = n.recorded;
    if (n.kind == Node::SET) memset(n.to, n.value, n.bytes);
    if (n.kind != Node::KERNEL) return SUCCESS;
    bool counted = count_file() && !n.function->counted.empty();
    if (counted) {
        std::lock_guard<std::mutex> held(all);
        count_begin(blocks);
    }
    const char *wrong = n.function->launch(n.function->kernel, n.arguments.data(), n.grid, n.threads, n.shared);
    if (counted)
        count_end({n.function->name.c_str(), n.function->counted.c_str(), n.grid, n.threads, n.shared});
    if (!wrong) return SUCCESS;
    fprintf(stderr, "host CUDA: %s, blocks of %u threads: %s\n", n.function->name.c_str(), n.threads, wrong);
    return fault = LAUNCH_FAILED;
}

static void run_ahead();

// Does it, or records it.
static Result ask(Stream *stream, const Node &n) {
    if (!current) return INVALID_CONTEXT;
    if (stream && stream->context != current) return INVALID_HANDLE;
    if (n.kind == Node::KERNEL && n.function->context != current) return INVALID_HANDLE;
    if (fault) return fault;
    if (stream && stream->recording) {
        stream->graph->nodes.push_back(n);
        return SUCCESS;
    }
    if (stream && stream->late) {
        std::lock_guard<std::recursive_mutex> held(queues);
        stream->queue.push_back(n);
        run_ahead();
        return fault;
    }
    return run(n);
}

// Does the first thing that a stream has put off, unless that waits for an event that is not reached.
static bool step(Stream *stream) {
    if (stream->queue.empty()) return false;
    Node n = stream->queue.front();
    if (n.kind == Node::WAIT && n.event->reached < n.recorded) return false;
    stream->queue.pop_front();
    run(n);
    return true;
}

// The next number of a draw below `n`.
static size_t draw(size_t n) {
    drawn = drawn * 6364136223846793005ull + 1442695040888963407ull;
    return (size_t)(drawn >> 33) % n;
}

// Does something of a stream that is drawn; false where none can go on.
static bool step_any() {
    size_t first = streams.empty() ? 0 : draw(streams.size());
    for (size_t i = 0; i < streams.size(); i++)
        if (step(streams[(first + i) % streams.size()])) return true;
    return false;
}

// What a device may do while more is asked for: nothing, or some of it.
static void run_ahead() {
    // One draw in two: a stream that falls behind is as likely as one that keeps up.
    while (shuffled && !fault && draw(2) && step_any()) {}
}

// Does what a stream has put off, and of others what they are drawn for, and what it waits for. False where it waits for what
// nobody was asked for.
static bool step_towards(Stream *stream) {
    if (shuffled) return step_any();
    if (step(stream)) return true;
    return !stream->queue.empty() && step_towards(stream->queue.front().event->stream);
}

static Result catch_up(Stream *stream) {
    std::lock_guard<std::recursive_mutex> held(queues);
    while (stream && !stream->queue.empty() && !fault)
        if (!step_towards(stream)) return fault = LAUNCH_FAILED;
    return fault;
}

static void catch_up_all() {
    std::lock_guard<std::recursive_mutex> held(queues);
    for (Stream *s : streams) catch_up(s);
}

// Whether a stream of the calling thread's device has put something off.
static bool is_busy() {
    std::lock_guard<std::recursive_mutex> held(queues);
    for (Stream *s : streams)
        if (s->context == current && !s->queue.empty()) return true;
    return false;
}

static bool is_locked(const void *at, size_t bytes) {
    std::lock_guard<std::mutex> held(all);
    auto next = locked.upper_bound((const char *)at);
    if (next == locked.begin()) return false;
    --next;
    return (const char *)at + bytes <= next->first + next->second;
}

static Result copy(Stream *stream, void *to, const void *from, size_t bytes) {
    Node n{};
    n.kind = Node::COPY, n.to = to, n.from = from, n.bytes = bytes;
    return ask(stream, n);
}

static Result wait(Stream *stream) {
    if (!current) return INVALID_CONTEXT;
    if (stream && stream->recording) {
        stream->broken = true;
        return CAPTURE_UNSUPPORTED;
    }
    calls[WAITS]++;
    if (stream) return catch_up(stream);
    catch_up_all();
    return fault;
}

extern "C" {

// How often a kind of call was made; for tests.
unsigned long long host_cuda_calls(int which) { return which >= 0 && which < CALLS ? calls[which].load() : 0; }

// Streams that are made from now on do what they are asked for in an order drawn from `seed`, where `on`, and those of every
// device that were made `who`-th (-1: none, 0: the first) do not wait for events of the `whom`-th; for tests.
void host_cuda_shuffle(int on, unsigned long long seed, int who, int whom) {
    std::lock_guard<std::recursive_mutex> held(queues);
    shuffled = on, drawn = seed * 0x9e3779b97f4a7c15ull + 1, left_out[0] = who, left_out[1] = whom;
}

Result cuInit(unsigned) { return devices() ? SUCCESS : 100; }
Result cuDriverGetVersion(int *v) { return *v = 13000, SUCCESS; }
Result cuDeviceGetCount(int *n) { return *n = devices(), SUCCESS; }
Result cuDeviceGet(int *d, int n) { return *d = n, n >= 0 && n < devices() ? SUCCESS : INVALID_DEVICE; }
Result cuDeviceGetName(char *name, int size, int) { return snprintf(name, size, "host CUDA"), SUCCESS; }
Result cuDeviceGetUuid_v2(char *uuid, int device) { return memset(uuid, device, 16), SUCCESS; }
Result cuDeviceTotalMem_v2(size_t *bytes, int) { return *bytes = total(), SUCCESS; }

Result cuDeviceGetAttribute(int *value, int which, int) {
    switch (which) {
    case 75: *value = (int)number("MLAAN_HOST_CUDA_CAPABILITY", 9); break;
    case 76: *value = 0; break;
    case 16: *value = 4; break;
    case 10: *value = 32; break;
    case 1: *value = 1024; break;
    case 97: *value = (int)SHARED_LIMIT; break;
    default: *value = 1;
    }
    return SUCCESS;
}

Result cuDevicePrimaryCtxRetain(void **c, int d) { return *c = &contexts[d], d >= 0 && d < devices() ? SUCCESS : INVALID_DEVICE; }
Result cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
Result cuCtxSetCurrent(void *c) { return current = c, SUCCESS; }
Result cuCtxGetCurrent(void **c) { return *c = current, SUCCESS; }
Result cuCtxSynchronize() { return wait(nullptr); }

Result cuGetErrorName(Result, const char **text) { return *text = "HOST_CUDA_ERROR", SUCCESS; }

Result cuGetErrorString(Result r, const char **text) {
    switch (r) {
    case SUCCESS: *text = "no error"; break;
    case INVALID_VALUE: *text = "invalid argument"; break;
    case OUT_OF_MEMORY: *text = "out of memory"; break;
    case 100: *text = "no CUDA-capable device is detected"; break;
    case INVALID_CONTEXT: *text = "invalid device context"; break;
    case INVALID_HANDLE: *text = "invalid resource handle"; break;
    case LAUNCH_FAILED: *text = "unspecified launch failure"; break;
    case CAPTURE_UNSUPPORTED: *text = "operation not permitted when stream is capturing"; break;
    case CAPTURE_INVALIDATED: *text = "operation failed due to a previous error during capture"; break;
    default: *text = "an error";
    }
    return SUCCESS;
}

Result cuStreamCreate(Stream **s, unsigned) {
    if (!current) return INVALID_CONTEXT;
    std::lock_guard<std::recursive_mutex> held(queues);
    *s = new Stream;
    (*s)->context = current;
    (*s)->late = shuffled || number("MLAAN_HOST_CUDA_LATE", 0) != 0;
    for (Stream *other : streams) (*s)->index += other->context == current;
    streams.push_back(*s);
    return SUCCESS;
}
Result cuStreamDestroy_v2(Stream *s) {
    std::lock_guard<std::recursive_mutex> held(queues);
    streams.erase(std::find(streams.begin(), streams.end(), s));
    return delete s, SUCCESS;
}
Result cuStreamSynchronize(Stream *s) { return wait(s); }

Result cuEventCreate(Event **e, unsigned) { return *e = new Event, SUCCESS; }
Result cuEventDestroy_v2(Event *e) { return delete e, SUCCESS; }

Result cuEventRecord(Event *e, Stream *s) {
    // Nobody needs events in recordings here.
    if (!s || s->recording) return CAPTURE_UNSUPPORTED;
    std::lock_guard<std::recursive_mutex> held(queues);
    Node n{};
    n.kind = Node::EVENT, n.event = e, n.recorded = ++e->recorded;
    e->stream = s;
    return ask(s, n);
}

// What a stream does from here on comes behind the event as it was recorded last.
Result cuStreamWaitEvent(Stream *s, Event *e, unsigned) {
    if (!s || s->recording) return CAPTURE_UNSUPPORTED;
    std::lock_guard<std::recursive_mutex> held(queues);
    if (e->reached >= e->recorded) return SUCCESS;
    if (s->index == left_out[0] && e->stream->index == left_out[1]) return SUCCESS;
    Node n{};
    n.kind = Node::WAIT, n.event = e, n.recorded = e->recorded;
    // A stream that does at once what it is asked for has nobody to go on behind it.
    if (!s->late) return catch_up(e->stream);
    return ask(s, n);
}

// Does what comes before the event, and no more.
Result cuEventSynchronize(Event *e) {
    if (!current) return INVALID_CONTEXT;
    std::lock_guard<std::recursive_mutex> held(queues);
    if (e->reached < e->recorded) calls[EVENT_WAITS]++;
    while (e->reached < e->recorded && !fault)
        if (!step_towards(e->stream)) return fault = LAUNCH_FAILED;
    return fault;
}

Result cuMemHostAlloc(void **p, size_t bytes, unsigned) {
    if (!current) return INVALID_CONTEXT;
    if (bytes == 0 || bytes > number("MLAAN_HOST_CUDA_LOCKED", (size_t)1 << 40)) return bytes ? OUT_OF_MEMORY : INVALID_VALUE;
    char *at = (char *)malloc(bytes);
    if (!at) return OUT_OF_MEMORY;
    std::lock_guard<std::mutex> held(all);
    locked[at] = bytes;
    return *p = at, SUCCESS;
}

Result cuMemFreeHost(void *p) {
    catch_up_all();
    std::lock_guard<std::mutex> held(all);
    if (!locked.erase((const char *)p)) return INVALID_VALUE;
    return free(p), SUCCESS;
}

// The end of a block is the end of a page, and behind it lies one that nobody may touch.
Result cuMemAlloc_v2(void **p, size_t bytes) {
    if (!current) return INVALID_CONTEXT;
    std::lock_guard<std::mutex> held(all);
    if (bytes == 0) return INVALID_VALUE;
    if (in_use[current] + bytes > total()) return OUT_OF_MEMORY;
    size_t page = sysconf(_SC_PAGESIZE), whole = (bytes + page - 1) / page * page;
    char *at = (char *)mmap(nullptr, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return OUT_OF_MEMORY;
    mprotect(at + whole, page, PROT_NONE);
    blocks[at] = bytes;
    owners[at] = current;
    in_use[current] += bytes;
    *p = at;
    return SUCCESS;
}

// A GPU's driver may or may not wait before it frees.
Result cuMemFree_v2(void *p) {
    bool early = is_busy();
    catch_up_all();
    std::lock_guard<std::mutex> held(all);
    auto found = blocks.find(p);
    if (found == blocks.end()) return INVALID_VALUE;
    if (early) calls[EARLY_FREES]++;
    size_t page = sysconf(_SC_PAGESIZE), whole = (found->second + page - 1) / page * page;
    munmap(p, whole + page);
    in_use[owners[p]] -= found->second;
    owners.erase(p);
    blocks.erase(found);
    return SUCCESS;
}

Result cuMemGetInfo_v2(size_t *free, size_t *of) {
    if (!current) return INVALID_CONTEXT;
    std::lock_guard<std::mutex> held(all);
    *of = total();
    *free = *of - in_use[current];
    return SUCCESS;
}

Result cuMemsetD8Async(void *p, unsigned char value, size_t bytes, Stream *s) {
    if (!is_own(p)) return INVALID_VALUE;
    Node n{};
    n.kind = Node::SET, n.to = p, n.value = value, n.bytes = bytes;
    return ask(s, n);
}

Result cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t n, Stream *s) {
    // Memory that is not locked is copied before the call returns, which a recording cannot do. The driver may wait for
    // the stream to do it.
    if (s && s->recording) return s->broken = true, CAPTURE_UNSUPPORTED;
    if (!is_own(to)) return INVALID_VALUE;
    if (is_locked(from, n)) return copy(s, to, from, n);
    calls[PAGEABLE]++;
    Node node{};
    node.kind = Node::COPY, node.to = to, node.from = from, node.bytes = n;
    if (s && s->late)
        node.taken = std::make_shared<std::vector<unsigned char>>((const unsigned char *)from, (const unsigned char *)from + n);
    return ask(s, node);
}
Result cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t n, Stream *s) {
    if (s && s->recording) return s->broken = true, CAPTURE_UNSUPPORTED;
    if (!is_own(from)) return INVALID_VALUE;
    calls[DOWNLOADS]++;
    // To memory that is locked it goes beside the processor.
    if (is_locked(to, n)) return copy(s, to, from, n);
    calls[PAGEABLE]++;
    if (Result r = copy(s, to, from, n)) return r;
    return catch_up(s);
}
Result cuMemcpyDtoDAsync_v2(void *to, const void *from, size_t n, Stream *s) {
    return is_own(to) && is_own(from) ? copy(s, to, from, n) : INVALID_VALUE;
}

Result cuModuleLoadData(Module **m, const void *image) {
    if (!current) return INVALID_CONTEXT;
    void *library = dlopen((const char *)image, RTLD_NOW | RTLD_LOCAL);
    if (!library) return fprintf(stderr, "host CUDA: %s\n", dlerror()), INVALID_IMAGE;
    Launch launch = (Launch)dlsym(library, "host_launch");
    if (!launch) return INVALID_IMAGE;
    bool counted = dlsym(library, "host_counted");
    *m = new Module{current, library, launch, counted ? (const char *)image : "", {}};
    return SUCCESS;
}

Result cuModuleUnload(Module *) { return SUCCESS; }

Result cuModuleGetFunction(Function **f, Module *m, const char *name) {
    auto found = m->functions.find(name);
    if (found == m->functions.end()) {
        void *kernel = dlsym(m->library, name);
        const unsigned *bytes = (const unsigned *)dlsym(m->library, (std::string(name) + "_size").c_str());
        if (!kernel || !bytes) return NOT_FOUND;
        Function *made = new Function{m->context, name, (void (*)(const void *))kernel, *bytes, SHARED_UNASKED, m->launch, m->counted};
        found = m->functions.emplace(name, made).first;
    }
    *f = found->second;
    return SUCCESS;
}

Result cuFuncSetAttribute(Function *f, int which, int value) {
    if (which == 8 && (size_t)value > SHARED_LIMIT) return INVALID_VALUE;
    if (which == 8) f->shared = value;
    return SUCCESS;
}

// Some number: results must not depend on it.
Result cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, Function *, int threads, size_t shared) {
    *blocks = (int)number("MLAAN_HOST_CUDA_RESIDENT", 2);
    return threads > 0 && threads <= 1024 && shared <= SHARED_LIMIT ? SUCCESS : INVALID_VALUE;
}

Result cuLaunchKernel(Function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, Stream *s, void **arguments, void **) {
    bool whole = gx && gy && gz && bx && by == 1 && bz == 1;
    if (!whole || gx > 0x7fffffffu || gy > 65535 || gz > 65535 || bx > 1024 || shared > f->shared) return INVALID_VALUE;
    Node n{};
    n.kind = Node::KERNEL, n.function = f, n.threads = bx, n.shared = shared;
    n.grid[0] = gx, n.grid[1] = gy, n.grid[2] = gz;
    n.arguments.assign((unsigned char *)arguments[0], (unsigned char *)arguments[0] + f->bytes);
    return ask(s, n);
}

Result cuStreamBeginCapture_v2(Stream *s, int) {
    if (s->recording) return INVALID_VALUE;
    s->recording = true, s->broken = false, s->graph = new Graph;
    return SUCCESS;
}

Result cuStreamEndCapture(Stream *s, Graph **g) {
    if (!s->recording) return INVALID_VALUE;
    s->recording = false;
    *g = s->broken ? nullptr : s->graph;
    if (s->broken) delete s->graph;
    return s->broken ? CAPTURE_INVALIDATED : SUCCESS;
}

Result cuGraphInstantiateWithFlags(Graph **e, Graph *g, unsigned long long) {
    calls[GRAPHS]++;
    return *e = new Graph(*g), SUCCESS;
}

Result cuGraphGetNodes(Graph *g, void **nodes, size_t *count) {
    if (nodes) return INVALID_VALUE;
    return *count = g->nodes.size(), SUCCESS;
}

struct UpdateInfo {
    int result;
    void *node, *from;
};

Result cuGraphExecUpdate_v2(Graph *e, Graph *g, UpdateInfo *) {
    if (e->nodes.size() != g->nodes.size()) return UPDATE_FAILURE;
    for (size_t i = 0; i < g->nodes.size(); i++)
        if (e->nodes[i].kind != g->nodes[i].kind || e->nodes[i].function != g->nodes[i].function) return UPDATE_FAILURE;
    e->nodes = g->nodes;
    return SUCCESS;
}

Result cuGraphLaunch(Graph *e, Stream *s) {
    if (s->recording) return CAPTURE_UNSUPPORTED;
    for (auto &n : e->nodes)
        if (Result r = ask(s, n)) return r;
    return SUCCESS;
}

Result cuGraphExecDestroy(Graph *e) { return delete e, SUCCESS; }
Result cuGraphDestroy(Graph *g) { return delete g, SUCCESS; }

} // extern "C"
