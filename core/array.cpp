#include "array.h"

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#include <nanobind/stl/vector.h>
#include <numpy/arrayobject.h>

#include <algorithm>
#include <atomic>

#include "bind.h"
#include "memory.h"

namespace rushlight {

namespace {

static_assert(sizeof(npy_intp) == sizeof(int64_t), "64-bit platforms only");

std::atomic<PyArray_Descr*> bfloat16_descriptor = nullptr;  // ml_dtypes registers it when it is first used

PyArrayObject* as_numpy(PyObject* object) { return reinterpret_cast<PyArrayObject*>(object); }

DType dtype_numbered(int type_number) {
  switch (type_number) {
    case NPY_BOOL: return DType::boolean;
    case NPY_UINT8: return DType::uint8;
    case NPY_INT8: return DType::int8;
    case NPY_INT16: return DType::int16;
    case NPY_INT32: return DType::int32;
    case NPY_LONGLONG:
    case NPY_INT64: return DType::int64;
    case NPY_HALF: return DType::float16;
    case NPY_FLOAT32: return DType::float32;
    case NPY_FLOAT64: return DType::float64;
    default: break;
  }
  PyArray_Descr* bfloat16 = bfloat16_descriptor;
  if (bfloat16 != nullptr && type_number == bfloat16->type_num) return DType::bfloat16;
  return DType::other;
}

PyArray_Descr* descriptor(DType dtype) {
  switch (dtype) {
    case DType::boolean: return PyArray_DescrFromType(NPY_BOOL);
    case DType::uint8: return PyArray_DescrFromType(NPY_UINT8);
    case DType::int8: return PyArray_DescrFromType(NPY_INT8);
    case DType::int16: return PyArray_DescrFromType(NPY_INT16);
    case DType::int32: return PyArray_DescrFromType(NPY_INT32);
    case DType::int64: return PyArray_DescrFromType(NPY_INT64);
    case DType::float16: return PyArray_DescrFromType(NPY_HALF);
    case DType::float32: return PyArray_DescrFromType(NPY_FLOAT32);
    case DType::float64: return PyArray_DescrFromType(NPY_FLOAT64);
    case DType::bfloat16:
      if (PyArray_Descr* bfloat16 = bfloat16_descriptor) {
        Py_INCREF(reinterpret_cast<PyObject*>(bfloat16));  // a macro that casts only without the stable ABI
        return bfloat16;
      }
      [[fallthrough]];
    default: throw nb::type_error("rushlight core: no such dtype");
  }
}

constexpr const char* storage_name = "rushlight.storage";

void release_storage(PyObject* capsule) {
  void* memory = PyCapsule_GetPointer(capsule, storage_name);
  release(memory, reinterpret_cast<size_t>(PyCapsule_GetContext(capsule)));
}

NewArray new_array(DType dtype, std::span<const int64_t> shape, const int* order, void* (*storage)(size_t)) {
  PyArray_Descr* numpy_dtype = descriptor(dtype);
  size_t bytes = static_cast<size_t>(item_size(dtype));
  for (int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(bytes, static_cast<size_t>(extent), &bytes) || bytes > PTRDIFF_MAX) {
      Py_DECREF(reinterpret_cast<PyObject*>(numpy_dtype));
      throw std::bad_alloc();
    }
  }
  void* memory = nullptr;
  try {
    memory = storage(bytes);
  } catch (...) {
    Py_DECREF(reinterpret_cast<PyObject*>(numpy_dtype));
    throw;
  }
  nb::object capsule = nb::steal(PyCapsule_New(memory, storage_name, release_storage));
  if (!capsule.is_valid()) {
    release(memory, bytes);
    Py_DECREF(reinterpret_cast<PyObject*>(numpy_dtype));
    throw nb::python_error();
  }
  PyCapsule_SetContext(capsule.ptr(), reinterpret_cast<void*>(bytes));
  npy_intp strides[max_dimensions];
  if (order != nullptr) {
    npy_intp step = item_size(dtype);
    for (size_t i = shape.size(); i-- > 0;) {
      strides[order[i]] = step;
      step *= std::max<int64_t>(shape[order[i]], 1);
    }
  }
  PyObject* object = PyArray_NewFromDescr(
      &PyArray_Type, numpy_dtype, static_cast<int>(shape.size()), reinterpret_cast<const npy_intp*>(shape.data()),
      order == nullptr ? nullptr : strides, memory, order == nullptr ? NPY_ARRAY_CARRAY : NPY_ARRAY_BEHAVED, nullptr);
  if (object == nullptr) throw nb::python_error();
  PyArray_SetBaseObject(as_numpy(object), capsule.release().ptr());
  nb::object owner = nb::steal(object);
  Array array = borrow(owner);
  return {std::move(owner), array};
}

// The dtype that Python gave; `other` where kernels have no code for it.
DType dtype_given(nb::handle given) {
  PyArray_Descr* found = nullptr;
  if (!PyArray_DescrConverter(given.ptr(), &found)) throw nb::python_error();
  nb::object owner = nb::steal(reinterpret_cast<PyObject*>(found));
  return PyArray_ISNBO(found->byteorder) ? dtype_numbered(found->type_num) : DType::other;
}

// What Python asks for; None for dtypes without kernels.
template <void* (*storage)(size_t)>
nb::object array_given(const std::vector<int64_t>& shape, nb::handle given) {
  DType dtype = dtype_given(given);
  return dtype == DType::other ? nb::none() : new_array(dtype, shape, nullptr, storage).object;
}

}  // namespace

bool is_array(nb::handle object) { return PyArray_Check(object.ptr()); }

Array borrow(nb::handle object) {
  if (!PyArray_Check(object.ptr())) throw nb::type_error("rushlight core: a kernel takes NumPy arrays");
  PyArrayObject* numpy = as_numpy(object.ptr());
  Array array;
  array.object = object.ptr();
  array.data = static_cast<char*>(PyArray_DATA(numpy));
  array.dimensions = PyArray_NDIM(numpy);
  array.shape = reinterpret_cast<const int64_t*>(PyArray_SHAPE(numpy));
  array.strides = reinterpret_cast<const int64_t*>(PyArray_STRIDES(numpy));
  bool usable = PyArray_ISALIGNED(numpy) && PyArray_ISNOTSWAPPED(numpy);
  array.dtype = usable ? dtype_numbered(PyArray_TYPE(numpy)) : DType::other;
  array.writeable = PyArray_ISWRITEABLE(numpy);
  return array;
}

char* data_of(nb::handle array) { return static_cast<char*>(PyArray_DATA(as_numpy(array.ptr()))); }

void set_data(nb::handle array, char* data) { reinterpret_cast<PyArrayObject_fields*>(array.ptr())->data = data; }

nb::object view_of(nb::handle array) {
  PyObject* view = PyArray_View(as_numpy(array.ptr()), nullptr, &PyArray_Type);
  if (view == nullptr) throw nb::python_error();
  return nb::steal(view);
}

NewArray empty(DType dtype, std::span<const int64_t> shape) { return new_array(dtype, shape, nullptr, &allocate); }

NewArray empty(DType dtype, std::span<const int64_t> shape, const int* order) {
  return new_array(dtype, shape, order, &allocate);
}

static void* import_numpy() {
  import_array();  // a macro that returns nullptr where it fails
  return PyArray_API;
}

void bind_array(nb::module_& module) {
  if (import_numpy() == nullptr) throw nb::python_error();
  module.def(
      "register_bfloat16",
      [](nb::handle dtype) {
        PyArray_Descr* found = nullptr;
        if (!PyArray_DescrConverter(dtype.ptr(), &found)) throw nb::python_error();
        bfloat16_descriptor = found;  // kept for the life of the process
      },
      nb::arg("dtype"), "Tells the core the NumPy dtype that ml_dtypes registered as bfloat16.");
  module.def("empty", &array_given<allocate>, nb::arg("shape"), nb::arg("dtype"),
             "A new, uninitialised, row-major array from the caching allocator; None for dtypes without kernels.");
  module.def("zeros", &array_given<allocate_zeros>, nb::arg("shape"), nb::arg("dtype"),
             "As `empty`, of zeros; pages fresh from the system aren't touched.");
  module.def(
      "empty_like",
      [](nb::handle array) {
        Array like = borrow(array);
        return empty(like.dtype, {like.shape, static_cast<size_t>(like.dimensions)}).object;
      },
      nb::arg("array"),
      "A new, uninitialised, row-major array of the same shape and dtype, from the caching allocator.");
}

}  // namespace rushlight
