#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/cudasim/runtime/fat_binary.h"

namespace annulus::cudasim {

/// A translation unit's device code. Its PTX is parsed when it is needed first.
class DeviceCode {
 public:
  explicit DeviceCode(const void* fat_binary) : bytes_(fat_binary) {}
  const FatBinary& binary();
  std::shared_ptr<const Module> module();
  /// What ptxas made of a kernel for an architecture; null where that was not compiled.
  const CompiledKernel* compiled(int architecture, const std::string& kernel);

 private:
  const void* bytes_;
  std::unique_ptr<FatBinary> binary_;
  std::shared_ptr<const Module> module_;
};

/// A kernel as the program's static initialisation announced it, by the address of its host stub.
struct RegisteredKernel {
  DeviceCode* code = nullptr;
  std::string name;                           // as in the PTX
  uint32_t dynamic_shared_limit = 48 * 1024;  // bytes, until cudaFuncSetAttribute raises it
};

struct RegisteredVariable {
  DeviceCode* code = nullptr;
  std::string name;
};

/// What nvcc's objects in this program have announced.
class KernelRegistry {
 public:
  static KernelRegistry& instance();
  DeviceCode* add_code(const void* fat_binary);
  void add_kernel(const void* stub, DeviceCode* code, const std::string& name) { kernels_[stub] = {code, name}; }
  void add_variable(const void* stub, DeviceCode* code, const std::string& name) { variables_[stub] = {code, name}; }
  /// Null for an address that is no kernel's.
  RegisteredKernel* kernel(const void* stub);
  const RegisteredVariable* variable(const void* stub) const;
  const std::map<const void*, RegisteredKernel>& kernels() const { return kernels_; }

 private:
  std::vector<std::unique_ptr<DeviceCode>> codes_;
  std::map<const void*, RegisteredKernel> kernels_;
  std::map<const void*, RegisteredVariable> variables_;
};

/// "rms_norm_forward<float, 4>" of a mangled name, without namespaces and parameters.
std::string readable_name(const std::string& mangled);

}  // namespace annulus::cudasim
