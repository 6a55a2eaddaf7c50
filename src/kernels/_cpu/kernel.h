// Everything an isa.cpp needs besides vectors: threads, scratch memory, and the registration of its kernels.
//
//   fc::parallel(ntasks, nthreads, [&](int64_t task, int tid) { ... });
//   fc::Scratch<float> strip(count);
//   FC_KERNELS(FC_FLOATS(relu_forward), fc::fc_entry("special", &special))
//
// A kernel may throw std::bad_alloc (Scratch does); its declaration in the .pyx says `except +`, which makes it
// Python's MemoryError. Nothing else is thrown.
#pragma once
#include <Python.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <type_traits>

#include "runtime.h"

namespace fc {

static const Runtime* runtime;  // the engine's services, bound when it loads this module

// How many threads a problem is worth, from an estimate of the time that one thread would need.
static inline int threads_for(double nanoseconds) { return runtime->threads_for(nanoseconds); }

// body(task, tid) for every task in [0, ntasks), each claimed by whichever of at most nthreads threads is awake: first
// those of a share of its own, which are neighbours, then what is left of the others'. Or in_order: the next one, by
// whom ever.
// tid in [0, nthreads) is unique among the threads inside this call: it may choose scratch memory, but no result may
// depend on it, because the same task can meet another tid in the next call.
template <class Body>
static inline void parallel(int64_t ntasks, int nthreads, Body&& body, bool in_order = false) {
    if (nthreads <= 1 || ntasks <= 1) {
        for (int64_t task = 0; task < ntasks; ++task) body(task, 0);
        return;
    }
    struct Shared {
        std::remove_reference_t<Body>& body;
        std::atomic<bool> out_of_memory{false};
    } shared{body};
    runtime->parallel(
        ntasks, nthreads, in_order,
        [](void* context, int64_t task, int tid) {
            Shared& s = *static_cast<Shared*>(context);
            try {
                s.body(task, tid);
            } catch (const std::bad_alloc&) {
                s.out_of_memory.store(true, std::memory_order_relaxed);
            }
        },
        &shared);
    if (shared.out_of_memory.load(std::memory_order_relaxed)) throw std::bad_alloc();
}

// In a call in_order, which task is claimed next, by whom ever; any number when there is none. Only good for asking for memory early.
static inline int64_t next_task() { return runtime->next_task(); }

// While it lives, kernels that this thread calls use one thread: for tasks that are made of kernels.
class Alone {
public:
    explicit Alone(bool alone) : before_(runtime->set_alone(alone)) {}
    ~Alone() { runtime->set_alone(before_); }
    Alone(const Alone&) = delete;
    Alone& operator=(const Alone&) = delete;

private:
    const bool before_;
};

// body(begin, end) over [0, count) in blocks of at most `block` items; for element-wise work.
template <class Body>
static inline void parallel_blocks(int64_t count, int64_t block, double nanoseconds_per_item, Body&& body) {
    const int nthreads = threads_for(double(count) * nanoseconds_per_item);
    if (nthreads == 1) {
        body(int64_t(0), count);
        return;
    }
    parallel((count + block - 1) / block, nthreads,
             [&](int64_t task, int) { body(task * block, std::min(count, (task + 1) * block)); });
}

// `count` values of scratch memory from the engine's buffer pool: 64-byte aligned, not initialised.
template <class T>
class Scratch {
    static_assert(std::is_trivial_v<T>);

public:
    explicit Scratch(int64_t count) : data_(static_cast<T*>(runtime->acquire(size_t(count) * sizeof(T)))) {
        if (!data_) throw std::bad_alloc();
    }
    ~Scratch() { runtime->release(data_); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    T* get() const { return data_; }
    operator T*() const { return data_; }

private:
    T* data_;
};

template <class Result, class... Args>
static inline Entry fc_entry(const char* name, Result (*kernel)(Args...)) {
    return {name, reinterpret_cast<void*>(kernel)};
}

// The body of a kernel module's init function: publish the kernels in a capsule.
static inline PyObject* publish(PyModuleDef* definition, const Entry* entries) {
    static KernelModule kernels;
    kernels = {entries, &runtime};
    PyObject* module = PyModule_Create(definition);
    PyObject* capsule = module ? PyCapsule_New(&kernels, kCapsuleName, nullptr) : nullptr;
    if (!capsule || PyModule_AddObjectRef(module, "kernels", capsule) < 0) Py_CLEAR(module);
    Py_XDECREF(capsule);
    return module;
}

}  // namespace fc

#define FC_PASTE2(a, b) a##b
#define FC_PASTE(a, b) FC_PASTE2(a, b)
#define FC_TEXT2(a) #a
#define FC_TEXT(a) FC_TEXT2(a)

// Both precisions of a template kernel, named <kernel>_f32 and <kernel>_f64.
#define FC_FLOATS(kernel) fc::fc_entry(#kernel "_f32", &kernel<float>), fc::fc_entry(#kernel "_f64", &kernel<double>)

// Defines the module's init function; FC_ISA comes from the compiler's command line.
#define FC_KERNELS(...)                                                                             \
    PyMODINIT_FUNC FC_PASTE(PyInit_isa_, FC_ISA)() {                                                \
        static const fc::Entry entries[] = {__VA_ARGS__, {nullptr, nullptr}};                       \
        static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "isa_" FC_TEXT(FC_ISA), nullptr, -1, \
                                         nullptr, nullptr, nullptr, nullptr, nullptr};              \
        return fc::publish(&definition, entries);                                                   \
    }
