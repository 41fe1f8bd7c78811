// NVRTC's functions over the system's C++ compiler. An "image" is the path of a shared library.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

enum { SUCCESS = 0, INVALID_INPUT = 3, COMPILATION = 6 };

// Where host.h lies and libraries go, and the compiler; set when this library is built.
static const std::string folder = MLAAN_FOLDER, compiler = MLAAN_COMPILER;

struct Program {
    std::string source, name, log, image;
    std::vector<std::pair<std::string, std::string>> headers;
};

static std::string read_all(const std::string &path) {
    std::ifstream in(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
}

static bool exists(const std::string &path) {
    struct stat s;
    return stat(path.c_str(), &s) == 0;
}

static void write_all(const std::string &path, const std::string &text) { std::ofstream(path, std::ios::binary) << text; }

// Leaves a program for a real compiler, with its headers and a file of options, where MLAAN_HOST_CUDA_PROGRAMS names a folder.
static void leave_program(const Program &p, const std::string &options) {
    const char *to = getenv("MLAAN_HOST_CUDA_PROGRAMS");
    if (!to || !*to) return;
    std::string own = std::string(to) + "/" + p.name + "-" + std::to_string(std::hash<std::string>()(p.source + options));
    mkdir(to, 0777);
    mkdir(own.c_str(), 0777);
    write_all(own + "/" + p.name, p.source);
    for (auto &h : p.headers) write_all(own + "/" + h.first, h.second);
    write_all(own + "/options", p.name + "\n" + options);
}

extern "C" {

int nvrtcVersion(int *major, int *minor) {
    *major = 13, *minor = 0;
    return SUCCESS;
}

int nvrtcGetNumSupportedArchs(int *n) { return *n = 2, SUCCESS; }
int nvrtcGetSupportedArchs(int *all) { return all[0] = 80, all[1] = 90, SUCCESS; }

const char *nvrtcGetErrorString(int result) { return result == SUCCESS ? "success" : "failed"; }

int nvrtcCreateProgram(Program **made, const char *source, const char *name, int n, const char *const *headers,
                       const char *const *names) {
    Program *p = new Program;
    p->source = source;
    p->name = name ? name : "program";
    for (int i = 0; i < n; i++) p->headers.emplace_back(names[i], headers[i]);
    *made = p;
    return SUCCESS;
}

int nvrtcDestroyProgram(Program **p) {
    delete *p;
    *p = nullptr;
    return SUCCESS;
}

int nvrtcCompileProgram(Program *p, int n, const char *const *options) {
    std::string defines, given, all = p->source;
    for (int i = 0; i < n; i++) {
        given += std::string(options[i]) + "\n";
        if (!strncmp(options[i], "-D", 2)) defines += std::string(" '") + options[i] + "'";
    }
    leave_program(*p, given);
    for (auto &h : p->headers) all += h.first + h.second;
    // As driver.h says: calls for every access and basic block, in the order of the source, with accesses left as they are.
    bool counted = getenv("MLAAN_HOST_CUDA_COUNT") && *getenv("MLAAN_HOST_CUDA_COUNT");
    if (counted)
        defines += " -DMLAAN_HOST_COUNT=1 -g1 -fsanitize=thread -fsanitize-coverage=trace-pc -fno-tree-sra -fno-ipa-sra"
                   " -fno-tree-vectorize -fno-tree-pre -fno-tree-tail-merge -fno-code-hoisting -fno-gcse -fno-crossjumping"
                   " -fno-thread-jumps -fno-split-paths -fno-reorder-blocks -fno-reorder-blocks-and-partition";
    std::string stem = folder + "/" + std::to_string(std::hash<std::string>()(all + defines));
    p->image = stem + ".so";
    if (exists(p->image)) return SUCCESS;
    // Several processes may do the same: each works in a place of its own, and the last step is one.
    std::string own = stem + "-" + std::to_string(getpid()) + "-" + std::to_string((size_t)p);
    mkdir(own.c_str(), 0777);
    write_all(own + "/" + p->name, p->source);
    for (auto &h : p->headers) write_all(own + "/" + h.first, h.second);
    std::string object = " '" + own + "/out.o'", log = " '" + own + "/log'";
    // Linked in a step of its own: the calls go to the driver, and no sanitiser's library is wanted.
    // Kernels that are made for one shape run a few times in a test: compiling them is what takes time.
    bool one_shape = std::count(defines.begin(), defines.end(), '=') >= 8;
    std::string command = compiler + (one_shape ? " -O1" : " -O2") + " -march=native -fno-math-errno -ffp-contract=off -std=c++17 -c -fPIC -w -pthread"
        " -DMLAAN_HOST=1" + defines + " -include '" + folder + "/host.h' -x c++ '" + own + "/" + p->name + "' -o" + object +
        " 2>" + log + " && " + compiler + " -shared -pthread" + object + (counted ? " '" + folder + "/libcuda.so'" : "") +
        " -o '" + own + "/out.so' 2>>" + log;
    int failed = system(command.c_str());
    p->log = read_all(own + "/log");
    if (!failed) rename((own + "/out.so").c_str(), p->image.c_str());
    failed = failed || !exists(p->image);
    if (system(("rm -rf '" + own + "'").c_str())) p->log += "\nthe temporary folder could not be removed";
    return failed ? COMPILATION : SUCCESS;
}

static int size_of(const std::string &text, size_t *size) {
    *size = text.size() + 1;
    return SUCCESS;
}

static int copy_of(const std::string &text, char *to) {
    memcpy(to, text.c_str(), text.size() + 1);
    return SUCCESS;
}

int nvrtcGetPTXSize(Program *p, size_t *size) { return size_of(p->image, size); }
int nvrtcGetPTX(Program *p, char *to) { return copy_of(p->image, to); }
int nvrtcGetCUBINSize(Program *p, size_t *size) { return size_of(p->image, size); }
int nvrtcGetCUBIN(Program *p, char *to) { return copy_of(p->image, to); }
int nvrtcGetProgramLogSize(Program *p, size_t *size) { return size_of(p->log, size); }
int nvrtcGetProgramLog(Program *p, char *to) { return copy_of(p->log, to); }

} // extern "C"
