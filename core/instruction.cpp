#include "instruction.h"

#include <nanobind/stl/string.h>

#include <map>
#include <stdexcept>

#include "bind.h"

namespace rushlight {

// Never destroyed: defaults are Python objects, and Python is gone by then.
static std::map<std::string, KernelDeclaration>& kernels() {
  static auto* const declared = new std::map<std::string, KernelDeclaration>;
  return *declared;
}

void declare_kernel(const char* name, KernelDeclaration declaration) { kernels()[name] = std::move(declaration); }

const KernelDeclaration& kernel_named(const std::string& name) {
  auto found = kernels().find(name);
  if (found == kernels().end()) throw std::invalid_argument("there is no kernel " + name);
  return found->second;
}

std::vector<nb::object> KernelDeclaration::bind(const std::string& name, nb::tuple arguments, nb::dict options) const {
  auto wrong = [&](const std::string& what) { throw nb::type_error((name + "(): " + what).c_str()); };
  std::vector<nb::object> values(parameters.size());
  size_t given = nb::len(arguments), positional = variadic < 0 ? parameters.size() : static_cast<size_t>(variadic);
  if (given > positional && variadic < 0) wrong("too many arguments");
  for (size_t i = 0; i < std::min(given, positional); ++i) values[i] = arguments[i];
  if (variadic >= 0) {
    nb::list rest;
    for (size_t i = positional; i < given; ++i) rest.append(arguments[i]);
    values[positional] = nb::tuple(rest);
  }
  for (auto [key, value] : options) {
    std::string option = nb::cast<std::string>(key);
    size_t i = 0;
    while (i < parameters.size() && parameters[i].name != option) ++i;
    if (i == parameters.size()) wrong("no parameter is named " + option);
    if (values[i].is_valid()) wrong(option + " is given twice");
    values[i] = nb::borrow(value);
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!values[i].is_valid()) values[i] = parameters[i].otherwise;
    if (!values[i].is_valid()) wrong(parameters[i].name + " is missing");
  }
  return values;
}

void bind_instruction(nb::module_& module) {
  module.def(
      "kernel_names",
      [] {
        nb::list names;
        for (const auto& [name, declaration] : kernels()) names.append(nb::str(name.c_str()));
        return names;
      },
      "The names of all kernels that an Executor can run.");
}

}  // namespace rushlight
