// Whether Python's containers and objects hold the very objects that they held: the guards of compiled functions, which
// are looked at before each call. What is looked at, and what a change means, is decided in Python.

#include <nanobind/nanobind.h>

#include "bind.h"

namespace nb = nanobind;

namespace rushlight {

namespace {

// Of lists and tuples that are known to be such, and long enough.
#if defined(Py_LIMITED_API) || defined(Py_GIL_DISABLED)
Py_ssize_t size_of(PyObject* list) { return PyList_Size(list); }
PyObject* item_of(PyObject* list, Py_ssize_t position) { return PyList_GetItem(list, position); }
PyObject* part_of(PyObject* tuple, Py_ssize_t position) { return PyTuple_GetItem(tuple, position); }
#else
Py_ssize_t size_of(PyObject* list) { return PyList_GET_SIZE(list); }
PyObject* item_of(PyObject* list, Py_ssize_t position) { return PyList_GET_ITEM(list, position); }
PyObject* part_of(PyObject* tuple, Py_ssize_t position) { return PyTuple_GET_ITEM(tuple, position); }
#endif

bool same_items(nb::handle container, PyObject* expected) {
  nb::ft_object_guard guard(container);
  const Py_ssize_t size = size_of(expected);
  Py_ssize_t position = 0;
  if (PyDict_Check(container.ptr())) {
    if (PyDict_Size(container.ptr()) != size) return false;
    PyObject* value;
    for (Py_ssize_t next = 0; PyDict_Next(container.ptr(), &next, nullptr, &value); ++position) {
      if (position == size || value != item_of(expected, position)) return false;
    }
    return true;
  }
  if (!PyList_Check(container.ptr())) throw nb::type_error("items are those of a list or a dictionary");
  if (size_of(container.ptr()) != size) return false;
  for (; position < size; ++position) {
    if (item_of(container.ptr(), position) != item_of(expected, position)) return false;
  }
  return true;
}

// None stands for what isn't there.
bool same_entries(nb::handle mapping, PyObject* names, PyObject* expected) {
  nb::ft_object_guard guard(mapping);
  const Py_ssize_t size = PyList_Size(expected);
  const bool is_dict = PyDict_Check(mapping.ptr());
  for (Py_ssize_t position = 0; position < size; ++position) {
    PyObject* name = PyList_GetItem(names, position);
    if (name == nullptr) throw nb::python_error();
    PyObject* value = is_dict ? PyDict_GetItemWithError(mapping.ptr(), name) : PyObject_GetItem(mapping.ptr(), name);
    if (!is_dict) Py_XDECREF(value);  // compared, never looked into
    if (value == nullptr && PyErr_Occurred() != nullptr) {
      if (!PyErr_ExceptionMatches(PyExc_KeyError)) throw nb::python_error();
      PyErr_Clear();
    }
    if ((value == nullptr ? Py_None : value) != PyList_GetItem(expected, position)) return false;
  }
  return true;
}

bool same_attributes(nb::handle object, PyObject* names, PyObject* expected) {
  const Py_ssize_t size = PyList_Size(expected);
  for (Py_ssize_t position = 0; position < size; ++position) {
    PyObject* name = PyList_GetItem(names, position);
    PyObject* value = name == nullptr ? nullptr : PyObject_GetAttr(object.ptr(), name);
    if (value == nullptr) {
      if (name == nullptr || !PyErr_ExceptionMatches(PyExc_Exception)) throw nb::python_error();
      PyErr_Clear();
      return false;
    }
    Py_DECREF(value);
    if (value != PyList_GetItem(expected, position)) return false;
  }
  return true;
}

// Whether `same` holds for the parts of each tuple, the last of which is a list of what is expected.
template <class... Parts>
bool all_same(nb::list watched, bool (*same)(nb::handle, Parts...)) {
  constexpr int length = 1 + sizeof...(Parts);
  for (Py_ssize_t position = 0; position < size_of(watched.ptr()); ++position) {
    PyObject* entry = item_of(watched.ptr(), position);
    PyObject* parts[length] = {};
    bool known = entry != nullptr && PyTuple_Check(entry) && PyTuple_Size(entry) == length;
    for (int i = 0; known && i < length; ++i) {
      parts[i] = part_of(entry, i);
      known = i == 0 || PyList_Check(parts[i]);
    }
    if (!known) throw nb::type_error("what is watched is a list of tuples: something, and lists");
    bool holds;
    if constexpr (length == 2) {
      holds = same(parts[0], parts[1]);
    } else {
      holds = same(parts[0], parts[1], parts[2]);
    }
    if (!holds) return false;
  }
  return true;
}

}  // namespace

void bind_watch(nb::module_& module) {
  module.def(
      "unchanged",
      [](nb::list items, nb::list entries, nb::list attributes) {
        return all_same(items, &same_items) && all_same(entries, &same_entries) &&
               all_same(attributes, &same_attributes);
      },
      nb::arg("items"), nb::arg("entries"), nb::arg("attributes"),
      "Whether all hold the very objects that they held. items: tuples (list or dictionary, list of its items or "
      "values); entries: (mapping, list of keys, list of what stood there, None for nothing); attributes: (object, "
      "list "
      "of names, list of what they were): one that is missing is a change.");
}

}  // namespace rushlight
