// Arrays whose memory comes from the buffer pool, through NumPy's memory handlers (NEP 49).
//
// The handler is set on the one array, not exchanged around its creation (that costs 0.2 us, and the handler is a
// context variable that other code may own): the array is made over the block, then told to own its data and whom to
// give it back to. NumPy does the rest: free, resize, and tracemalloc's "untrack"; "track" is ours to call.
#pragma once
#include <Python.h>
#include <numpy/arrayobject.h>

#include <cstring>

#include "buffers.h"

namespace fc {

void trace_array(void* block, size_t bytes);  // tracemalloc, see trace.cpp

static inline PyObject* buffer_handler() {
    static PyDataMem_Handler handler = {
        "fastconv",
        1,
        {nullptr, [](void*, size_t bytes) { return acquire(bytes); },
         [](void*, size_t count, size_t size) {
             size_t bytes;
             void* block = __builtin_mul_overflow(count, size, &bytes) ? nullptr : acquire(bytes);
             return block ? memset(block, 0, bytes) : nullptr;
         },
         [](void*, void* block, size_t bytes) { return reacquire(block, bytes); },
         [](void*, void* block, size_t) { release(block); }}};
    static PyObject* capsule = PyCapsule_New(&handler, "mem_handler", nullptr);
    return capsule;
}

// An uninitialised C-contiguous array of a numeric type.
static inline PyObject* new_array(int ndim, const npy_intp* shape, int typenum) {
    PyArray_Descr* dtype = PyArray_DescrFromType(typenum);
    PyObject* handler = buffer_handler();
    if (!dtype || !handler) return nullptr;
    size_t bytes = size_t(PyDataType_ELSIZE(dtype));
    bool overflow = false;
    for (int i = 0; i < ndim; ++i) overflow |= __builtin_mul_overflow(bytes, size_t(shape[i]), &bytes);
    void* data = overflow ? nullptr : acquire(bytes);
    if (!data) {
        if (PyObject* sizes = PyArray_IntTupleFromIntp(ndim, shape)) {
            PyErr_Format(PyExc_MemoryError, "there is no memory for an array of shape %R and dtype %S", sizes, dtype);
            Py_DECREF(sizes);
        }
        Py_DECREF(dtype);
        return nullptr;
    }
    PyObject* array = PyArray_NewFromDescr(&PyArray_Type, dtype, ndim, shape, nullptr, data, NPY_ARRAY_CARRAY, nullptr);
    if (!array) {
        release(data);
        return nullptr;
    }
    auto* fields = reinterpret_cast<PyArrayObject_fields*>(array);
    Py_INCREF(handler);
    Py_XSETREF(fields->mem_handler, handler);
    PyArray_ENABLEFLAGS(reinterpret_cast<PyArrayObject*>(array), NPY_ARRAY_OWNDATA);
    trace_array(data, bytes);
    return array;
}

}  // namespace fc
