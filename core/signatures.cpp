// Which arrays and options an operation has been called with before: its shape rule isn't asked about them again. What
// a rule says, and whether it reads values, is known in Python.

#include <cstring>
#include <vector>

#include "array.h"
#include "bind.h"

namespace rushlight {

namespace {

// What a rule goes by, as numbers; the options are compared as they are.
struct Signature {
  static constexpr size_t most = 64;
  int64_t words[most];
  size_t size = 0;
  uint64_t hash = 0;

  bool put(int64_t word) {
    if (size == most) return false;
    words[size++] = word;
    mix(static_cast<uint64_t>(word));
    return true;
  }
  void mix(uint64_t word) { hash = (hash ^ word ^ (hash >> 29)) * 0x9E3779B97F4A7C15; }

  bool put_array(const Array& array, bool integers) {
    bool floating = array.dtype >= DType::float16 && array.dtype <= DType::float64;
    if (!floating && (!integers || array.dtype == DType::other)) return false;
    if (!put(static_cast<int64_t>(array.dtype) * (max_dimensions + 1) + array.dimensions)) return false;
    for (int i = 0; i < array.dimensions; ++i) {
      if (!put(array.shape[i])) return false;
    }
    return true;
  }

  bool put_argument(nb::handle argument, bool integers) {
    PyTypeObject* type = Py_TYPE(argument.ptr());
    if (argument.is_none()) return put(-1);
    if (type == &PyBool_Type) return put(-2);
    if (type == &PyLong_Type) return put(-3);
    if (type == &PyFloat_Type) return put(-4);
    return is_array(argument) && put_array(borrow(argument), integers);
  }

  bool read(nb::list arguments, nb::dict options, bool integers) {
    for (nb::handle argument : arguments) {
      if (!put_argument(argument, integers)) return false;
    }
    for (auto [name, value] : options) {
      Py_hash_t hashed = PyObject_Hash(value.ptr());
      if (hashed == -1) {
        PyErr_Clear();
        return false;
      }
      mix(static_cast<uint64_t>(hashed));
    }
    return true;
  }
};

// A table in which a new signature takes the place of another. Arguments other than arrays, numbers and None have none,
// nor do arrays of integers unless that is said, nor options that can't be hashed.
class Signatures {
 public:
  explicit Signatures(bool integers) : integers_(integers), entries_(256) {}

  bool holds(nb::list arguments, nb::dict options) const {
    Signature given;
    if (!given.read(arguments, options, integers_)) return false;
    const Entry& entry = entries_[given.hash % entries_.size()];
    if (entry.hash != given.hash || entry.words.size() != given.size ||
        std::memcmp(entry.words.data(), given.words, given.size * sizeof(int64_t)) != 0) {
      return false;
    }
    nb::object known = entry.options;  // comparing may run Python code, which may call the operation
    int equal = PyObject_RichCompareBool(known.ptr(), options.ptr(), Py_EQ);
    if (equal < 0) throw nb::python_error();
    return equal != 0;
  }

  void add(nb::list arguments, nb::dict options) {
    Signature given;
    if (!given.read(arguments, options, integers_)) return;
    nb::object kept = nb::steal(PyDict_Copy(options.ptr()));
    if (!kept.is_valid()) throw nb::python_error();
    Entry& entry = entries_[given.hash % entries_.size()];
    entry.hash = given.hash;
    entry.words.assign(given.words, given.words + given.size);
    std::swap(entry.options, kept);
  }

 private:
  struct Entry {
    uint64_t hash = 0;
    std::vector<int64_t> words;
    nb::object options = nb::none();
  };

  bool integers_;
  std::vector<Entry> entries_;
};

}  // namespace

void bind_signatures(nb::module_& module) {
  nb::class_<Signatures>(module, "Signatures",
                         "A table of what was added to it last: lists of arguments (arrays, numbers, None), of which "
                         "dtypes and shapes count, and dictionaries of options.")
      .def(nb::init<bool>(), nb::arg("integers"), "integers: whether arrays of integers and bools can be added too.")
      .def("holds", &Signatures::holds, nb::arg("arguments"), nb::arg("options"), nb::lock_self(),
           "Whether such arguments and options were added.")
      .def("add", &Signatures::add, nb::arg("arguments"), nb::arg("options"), nb::lock_self(),
           "Adds them, where they can be compared.");
}

}  // namespace rushlight
