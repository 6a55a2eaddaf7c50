// The kernels themselves from several threads at once, through the pools of threads and of buffers: every result has the
// bits of a call without rivals. A plain program, so that ThreadSanitizer sees all of it; built and run by
// tools/sanitize.py. Exit status 0: all was right.
//
//   kernels_stress ROUNDS MODULE...     a module is <op>.so, from the op's isa.cpp
//   kernels_stress race                 two tasks write one number: ThreadSanitizer must say so
//
// A kernel module publishes its kernels in a capsule. There is no Python here: what its init function calls of Python is
// defined below, and keeps the capsule's pointer.
#include <Python.h>
#include <dlfcn.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "buffers.h"
#include "isa.h"
#include "step.h"
#include "threads.h"
#include "window.h"

namespace {

PyObject nothing;
void* published;

}  // namespace

#define FC_PYTHON extern "C" __attribute__((visibility("default")))

FC_PYTHON PyObject* PyModule_Create2(PyModuleDef*, int) {
    Py_SET_REFCNT(&nothing, 1 << 20);
    return &nothing;
}
FC_PYTHON PyObject* PyCapsule_New(void* pointer, const char*, PyCapsule_Destructor) {
    published = pointer;
    return &nothing;
}
FC_PYTHON int PyModule_AddObjectRef(PyObject*, const char*, PyObject*) { return 0; }
FC_PYTHON void _Py_Dealloc(PyObject*) { std::abort(); }

namespace {

using fc::Window;

constexpr int kThreads = 4, kCallers = 3;

[[noreturn]] void fail(const std::string& why) {
    std::fprintf(stderr, "%s\n", why.c_str());
    std::exit(1);
}

std::map<std::string, const fc::Entry*> modules;

void load(const std::string& path) {
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) fail(dlerror());
    const auto init = reinterpret_cast<PyObject* (*)()>(dlsym(library, "PyInit_isa_stress"));
    if (!init) fail(dlerror());
    init();
    auto* kernels = static_cast<fc::KernelModule*>(published);
    *kernels->runtime = &fc::services;
    const size_t name = path.rfind('/') + 1;
    modules[path.substr(name, path.rfind('.') - name)] = kernels->entries;
}

template <class Kernel>
Kernel* kernel(const std::string& op, const std::string& name) {
    if (!modules.count(op)) fail("no module of " + op);
    for (const fc::Entry* entry = modules[op]; entry->name; ++entry)
        if (name == entry->name) return reinterpret_cast<Kernel*>(entry->kernel);
    fail("no kernel " + op + "." + name);
}

// Memory of the buffer pool that every call takes anew.
class Block {
public:
    explicit Block(size_t bytes) : data_(fc::acquire(bytes)) { std::memset(data_, 0xff, bytes); }
    ~Block() { fc::release(data_); }
    Block(const Block&) = delete;
    char* get() const { return static_cast<char*>(data_); }

private:
    void* data_;
};

template <class T>
std::vector<T> numbers(int64_t count) {
    std::vector<T> values(static_cast<size_t>(count));
    uint32_t state = 12345;
    for (T& value : values) {
        state = state * 1664525u + 1013904223u;
        value = T(int32_t(state >> 8) % 1000) / T(500) - T(1);
    }
    return values;
}

struct Job {
    std::string name;
    size_t bytes;  // of the result
    std::function<void(char* out)> run;
    std::vector<char> expected;
};

Window window(int64_t N, int64_t C, int64_t H, int64_t K, int64_t stride, int64_t pad) {
    const int64_t OH = (H + 2 * pad - K) / stride + 1;
    return {N, C, H, H, K, K, OH, OH, stride, stride, pad, pad, pad, pad, 1, 1};
}

struct AffineSizes {
    int64_t N, K, M;
    bool transposed, relu;
};
struct BatchNorm {
    int64_t N, C, P;
    double momentum, eps;
};
struct Link {
    const fc::Step* step;
    int64_t in, out;
};

constexpr int64_t kElements = 1 << 17, kFilters = 16;
const std::vector<float> a = numbers<float>(1 << 20), w = numbers<float>(1 << 16);
const std::vector<double> wide = numbers<double>(kElements);
const Window conv = window(8, 16, 24, 3, 1, 1), small = window(8, 3, 24, 5, 1, 0), pool = window(8, 16, 24, 2, 2, 0);
const int64_t conv_size = conv.N * kFilters * conv.OH * conv.OW;

float* floats(char* out) { return reinterpret_cast<float*>(out); }

std::vector<Job> elementwise() {
    const auto relu = kernel<void(float*, const float*, int64_t, double)>("activations", "relu_forward_f32");
    const auto tanh = kernel<void(double*, const double*, int64_t, double)>("activations", "tanh_forward_f64");
    const auto softmax = kernel<void(float*, const float*, int64_t, int64_t, int64_t)>("softmax", "forward_f32");
    const auto dropout = kernel<void(float*, uint8_t*, const float*, uint64_t, int64_t, int64_t, uint64_t, double)>(
        "dropout", "forward_f32");
    const auto norm = kernel<void(float*, float*, float*, const float*, const float*, const float*, float*, float*,
                                  const BatchNorm*)>("batch_norm", "training_f32");
    return {
        {"relu", kElements * 4, [=](char* out) { relu(floats(out), a.data(), kElements, 0); }, {}},
        {"tanh", kElements * 8,
         [=](char* out) { tanh(reinterpret_cast<double*>(out), wide.data(), kElements, 0); }, {}},
        {"softmax", kElements * 4, [=](char* out) { softmax(floats(out), a.data(), kElements / 64, 64, 1); }, {}},
        {"dropout", kElements * 5,
         [=](char* out) {
             auto* mask = reinterpret_cast<uint8_t*>(out + kElements * 4);
             dropout(floats(out), mask, a.data(), 7, kElements, 1, 1u << 31, 2);
         }, {}},
        {"batch norm", (kElements + 4 * 32) * 4,
         [=](char* out) {
             const BatchNorm sizes{8, 32, kElements / 256, .1, 1e-5};
             float* statistics = floats(out) + kElements;
             std::fill_n(statistics + 64, 64, 1.f);
             norm(floats(out), statistics, statistics + 32, a.data(), w.data(), w.data() + 32, statistics + 64,
                  statistics + 96, &sizes);
         }, {}},
    };
}

std::vector<Job> convolutions() {
    using Forward = void(float*, const float*, const float*, const float*, const Window*, int64_t, int64_t, bool);
    using Fixed = void(float*, const float*, const float*, const float*, const Window*, int64_t, bool);
    const auto forward = kernel<Forward>("conv2d", "forward_f32");
    const auto data = kernel<void(float*, const float*, const float*, const Window*, int64_t, int64_t)>(
        "conv2d", "backward_data_f32");
    const auto weights = kernel<void(float*, float*, const float*, const float*, const Window*, int64_t, int64_t)>(
        "conv2d_weights", "backward_weights_f32");
    const auto winograd = kernel<Fixed>("winograd", "forward");
    const auto gradient = kernel<void(float*, float*, const float*, const float*, const Window*, int64_t)>(
        "winograd", "backward_weights");
    const auto depthwise = kernel<Fixed>("depthwise", "forward_f32");
    const int64_t filters = kFilters * conv.C * 9;
    return {
        {"conv2d", size_t(conv_size) * 4,
         [=](char* out) { forward(floats(out), a.data(), w.data(), w.data(), &conv, kFilters, 1, true); }, {}},
        {"conv2d of few channels", size_t(small.N * kFilters * small.OH * small.OW) * 4,
         [=](char* out) { forward(floats(out), a.data(), w.data(), nullptr, &small, kFilters, 1, false); }, {}},
        {"conv2d backward data", size_t(conv.N * conv.C * conv.H * conv.W) * 4,
         [=](char* out) { data(floats(out), a.data(), w.data(), &conv, kFilters, 1); }, {}},
        {"conv2d backward weights", size_t(filters + kFilters) * 4,
         [=](char* out) { weights(floats(out), floats(out) + filters, a.data(), a.data(), &conv, kFilters, 1); }, {}},
        {"winograd", size_t(conv_size) * 4,
         [=](char* out) { winograd(floats(out), a.data(), w.data(), w.data(), &conv, kFilters, false); }, {}},
        {"winograd backward weights", size_t(filters + kFilters) * 4,
         [=](char* out) { gradient(floats(out), floats(out) + filters, a.data(), a.data(), &conv, kFilters); }, {}},
        {"depthwise", size_t(conv_size) * 4,
         [=](char* out) { depthwise(floats(out), a.data(), w.data(), w.data(), &conv, kFilters, false); }, {}},
    };
}

std::vector<Job> others() {
    const auto affine = kernel<void(float*, const float*, const float*, const float*, const AffineSizes&)>(
        "affine", "forward_f32");
    const auto weights = kernel<void(float*, float*, const float*, const float*, const AffineSizes&)>(
        "affine", "backward_weights_f32");
    const auto max = kernel<void(float*, int64_t*, const float*, const Window*)>("pool2d", "max_forward_f32");
    const auto run = kernel<void(void*, const void*, const Link*, int64_t, int64_t)>("chain", "run");
    const fc::Step* convolution = kernel<fc::Step*(const float*, const float*, const Window*, int64_t, int64_t, bool)>(
        "conv2d", "prepare_f32")(w.data(), w.data(), &conv, kFilters, 1, true);
    const fc::Step* pooling = kernel<fc::Step*(const Window*)>("pool2d", "prepare_max_f32")(&pool);
    static constexpr AffineSizes sizes{128, 200, 150, false, true};
    const int64_t planes = pool.N * pool.C, pooled = planes * pool.OH * pool.OW;
    const int64_t image = conv.C * conv.H * conv.W * 4, smaller = pool.C * pool.OH * pool.OW * 4;
    return {
        {"affine", sizes.N * sizes.M * 4,
         [=](char* out) { affine(floats(out), a.data(), w.data(), w.data(), sizes); }, {}},
        {"affine backward weights", (sizes.K + 1) * sizes.M * 4,
         [=](char* out) { weights(floats(out), floats(out) + sizes.K * sizes.M, a.data(), a.data(), sizes); }, {}},
        {"max pooling", size_t(pooled) * 12,
         [=](char* out) {
             max(floats(out + pooled * 8), reinterpret_cast<int64_t*>(out), a.data(), &pool);
         }, {}},
        {"chain", size_t(smaller * conv.N),
         [=](char* out) {
             const Link links[] = {{convolution, image, image}, {pooling, image, smaller}};
             run(out, a.data(), links, 2, conv.N);
         }, {}},
    };
}

std::atomic<int64_t> calls{0};

void call(const Job& job) {
    const Block out(job.bytes);
    job.run(out.get());
    if (std::memcmp(out.get(), job.expected.data(), job.bytes)) fail(job.name + ": other bits than without rivals");
    calls.fetch_add(1, std::memory_order_relaxed);
}

// Helpers may sleep through a call, so it is made until one has taken part.
void race() {
    struct Shared {
        int64_t written = 0;
        std::atomic<bool> helped{false};
    } shared;
    while (!shared.helped.load())
        fc::parallel(
            1000, 2, false,
            [](void* context, int64_t task, int tid) {
                auto* s = static_cast<Shared*>(context);
                s->written = task;
                if (tid > 0) s->helped.store(true);
            },
            &shared);
    std::printf("last written: %lld\n", static_cast<long long>(shared.written));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 2 && std::string(argv[1]) == "race") {
        fc::set_thread_limit(2);
        race();
        return 0;
    }
    if (argc < 3) fail("usage: kernels_stress ROUNDS MODULE...");
    const int64_t rounds = std::atoll(argv[1]);
    for (int i = 2; i < argc; ++i) load(argv[i]);
    fc::set_thread_limit(kThreads);
    fc::set_cache_limit(64 << 20);

    std::vector<Job> jobs;
    for (const auto& part : {elementwise(), convolutions(), others()}) jobs.insert(jobs.end(), part.begin(), part.end());
    for (Job& job : jobs) {
        const Block out(job.bytes);
        job.run(out.get());
        job.expected.assign(out.get(), out.get() + job.bytes);
        for (size_t i = 0; i + 4 <= job.bytes; i += 4)  // a kernel called as it does not expect leaves what was there
            if (!std::memcmp(out.get() + i, "\xff\xff\xff\xff", 4)) fail(job.name + ": does not fill its result");
    }
    std::vector<std::thread> callers;
    for (int caller = 0; caller < kCallers; ++caller)
        callers.emplace_back([&, caller] {
            for (int64_t i = 0; i < rounds * int64_t(jobs.size()); ++i) call(jobs[size_t(i * (caller + 1)) % jobs.size()]);
        });
    for (std::thread& caller : callers) caller.join();
    std::printf("%lld calls of %zu kernels from %d threads, each with up to %d\n", static_cast<long long>(calls.load()),
                jobs.size(), kCallers, kThreads);
    return 0;
}
