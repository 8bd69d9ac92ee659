// Whether Python's containers and objects hold the very objects that they held: the guards of compiled functions, which
// are looked at before each call. What is looked at, and what a change means, is decided in Python.

#include <nanobind/nanobind.h>

#include <cstdint>
#include <vector>

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

// The state that a dictionary is in: Python 3.11 gives each of all dictionaries' states another number. 0: not known.
uint64_t state_of([[maybe_unused]] nb::handle container) {
#if !defined(Py_LIMITED_API) && PY_VERSION_HEX < 0x030C0000
  if (PyDict_Check(container.ptr())) return reinterpret_cast<PyDictObject*>(container.ptr())->ma_version_tag;
#endif
  return 0;
}

// The states in which containers were found to be unchanged: in these they needn't be looked through again.
struct States {
  std::vector<uint64_t> of_items, of_entries;
};

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

// Whether `same` holds for the parts of each tuple, the last of which is a list of what is expected. states: null where
// a dictionary's state doesn't tell.
template <class... Parts>
bool all_same(nb::list watched, bool (*same)(nb::handle, Parts...), std::vector<uint64_t>* states) {
  constexpr int length = 1 + sizeof...(Parts);
  if (states != nullptr) states->resize(static_cast<size_t>(size_of(watched.ptr())));
  for (Py_ssize_t position = 0; position < size_of(watched.ptr()); ++position) {
    PyObject* entry = item_of(watched.ptr(), position);
    PyObject* parts[length] = {};
    bool known = entry != nullptr && PyTuple_Check(entry) && PyTuple_Size(entry) == length;
    for (int i = 0; known && i < length; ++i) {
      parts[i] = part_of(entry, i);
      known = i == 0 || PyList_Check(parts[i]);
    }
    if (!known) throw nb::type_error("what is watched is a list of tuples: something, and lists");
    const uint64_t state = states == nullptr ? 0 : state_of(parts[0]);
    if (state != 0 && state == states->at(static_cast<size_t>(position))) continue;
    bool holds;
    if constexpr (length == 2) {
      holds = same(parts[0], parts[1]);
    } else {
      holds = same(parts[0], parts[1], parts[2]);
    }
    if (!holds) return false;
    if (state != 0) states->at(static_cast<size_t>(position)) = state;
  }
  return true;
}

}  // namespace

void bind_watch(nb::module_& module) {
  nb::class_<States>(module, "States", "In which states `unchanged` has found what it watches to be as it was.")
      .def(nb::init<>());
  module.def(
      "unchanged",
      [](nb::list items, nb::list entries, nb::list attributes, States& states) {
        return all_same(items, &same_items, &states.of_items) && all_same(entries, &same_entries, &states.of_entries) &&
               all_same(attributes, &same_attributes, nullptr);
      },
      nb::arg("items"), nb::arg("entries"), nb::arg("attributes"), nb::arg("states").lock(),
      "Whether all hold the very objects that they held. items: tuples (list or dictionary, list of its items or "
      "values); entries: (mapping, list of keys, list of what stood there, None for nothing); attributes: (object, "
      "list of names, list of what they were): one that is missing is a change. states: the same at all calls with "
      "these lists, which only grow.");
}

}  // namespace rushlight
