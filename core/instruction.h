// Kernels by name: bound to Python, and made into instructions, calls with their arguments converted once.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernel.h"

namespace rushlight {

class Instruction {
 public:
  virtual ~Instruction() = default;
  virtual void run() = 0;  // without the GIL
  // Another value for one parameter; with the GIL.
  virtual void set(size_t position, nb::handle value) = 0;
};

struct Parameter {
  std::string name;
  nb::object otherwise;  // invalid where an argument is needed
};

struct KernelDeclaration {
  std::vector<Parameter> parameters;
  int variadic = -1;  // which parameter takes all further positional arguments
  // One value for each parameter, in their order; an invalid one is set before the first run.
  std::function<std::unique_ptr<Instruction>(const std::vector<nb::object>& values)> make;

  // One value for each parameter from the arguments of a call; raises TypeError where they don't fit.
  std::vector<nb::object> bind(const std::string& name, nb::tuple arguments, nb::dict options) const;
};

void declare_kernel(const char* name, KernelDeclaration declaration);
const KernelDeclaration& kernel_named(const std::string& name);  // raises ValueError where there is none

namespace detail {

template <class Function, class... Arguments>
class KernelCall final : public Instruction {
 public:
  KernelCall(Function function, const std::vector<nb::object>& values) : function_(function) {
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i].is_valid()) set(i, values[i]);
    }
  }
  void run() override { std::apply(function_, values_); }
  void set(size_t position, nb::handle value) override {
    set_one(position, value, std::index_sequence_for<Arguments...>());
  }

 private:
  using Values = std::tuple<std::decay_t<Arguments>...>;

  template <size_t... indices>
  void set_one(size_t position, nb::handle value, std::index_sequence<indices...>) {
    ((indices == position ? void(std::get<indices>(values_) = convert<std::tuple_element_t<indices, Values>>(value))
                          : void()),
     ...);
  }
  template <class Value>
  static Value convert(nb::handle value) {
    if constexpr (std::is_same_v<Value, nb::handle>) {
      return value;
    } else if constexpr (std::is_same_v<Value, nb::args>) {
      return nb::borrow<nb::args>(value);
    } else {
      return nb::cast<Value>(value);
    }
  }

  Function function_;
  Values values_;
};

// Of nanobind's annotations, those of arguments have a name, and perhaps a value.
template <class Annotation>
void add_parameter(KernelDeclaration& declaration, const Annotation& annotation) {
  if constexpr (requires { annotation.name_, annotation.value; }) {
    declaration.parameters.push_back({annotation.name_, annotation.value});
  } else if constexpr (requires { annotation.name_; }) {
    declaration.parameters.push_back({annotation.name_, {}});
  }
}

template <class... Arguments, class Function, class... Extra>
void define_kernel(nb::module_& module, const char* name, Function function, const Extra&... extra) {
  KernelDeclaration declaration;
  (add_parameter(declaration, extra), ...);
  int position = 0;
  ((std::is_same_v<std::decay_t<Arguments>, nb::args> ? void(declaration.variadic = position) : void(), ++position),
   ...);
  declaration.make = [function](const std::vector<nb::object>& values) {
    return std::make_unique<KernelCall<Function, Arguments...>>(function, values);
  };
  declare_kernel(name, std::move(declaration));
  module.def(name, function, extra...);
}

template <class Function, class... Arguments, class... Extra>
void define_functor(nb::object (Function::*)(Arguments...) const, nb::module_& module, const char* name,
                    Function function, const Extra&... extra) {
  define_kernel<Arguments...>(module, name, function, extra...);
}

}  // namespace detail

// Binds a kernel, a function or a lambda, as `module.def` does, and lets an Executor make instructions of it. Every
// parameter has its nb::arg.
template <class... Arguments, class... Extra>
void define_kernel(nb::module_& module, const char* name, nb::object (*function)(Arguments...), const Extra&... extra) {
  detail::define_kernel<Arguments...>(module, name, function, extra...);
}
template <class Function, class... Extra>
void define_kernel(nb::module_& module, const char* name, Function function, const Extra&... extra) {
  detail::define_functor(&Function::operator(), module, name, function, extra...);
}

}  // namespace rushlight
