#include "tests/cudasim/runtime/kernel_registry.h"

#include <cxxabi.h>

#include <cstdlib>
#include <regex>

namespace annulus::cudasim {

const FatBinary& DeviceCode::binary() {
  if (binary_ == nullptr) binary_ = std::make_unique<FatBinary>(read_fat_binary(bytes_));
  return *binary_;
}

std::shared_ptr<const Module> DeviceCode::module() {
  if (module_ == nullptr) module_ = std::make_shared<const Module>(parse_ptx(binary().ptx));
  return module_;
}

const CompiledKernel* DeviceCode::compiled(int architecture, const std::string& kernel) {
  const auto kernels = binary().compiled.find(architecture);
  if (kernels == binary().compiled.end()) return nullptr;
  const auto found = kernels->second.find(kernel);
  return found == kernels->second.end() ? nullptr : &found->second;
}

// Made when it is first asked for, since objects announce themselves during static initialisation.
KernelRegistry& KernelRegistry::instance() {
  static auto* const registry = new KernelRegistry;
  return *registry;
}

DeviceCode* KernelRegistry::add_code(const void* fat_binary) {
  codes_.push_back(std::make_unique<DeviceCode>(fat_binary));
  return codes_.back().get();
}

RegisteredKernel* KernelRegistry::kernel(const void* stub) {
  const auto found = kernels_.find(stub);
  return found == kernels_.end() ? nullptr : &found->second;
}

const RegisteredVariable* KernelRegistry::variable(const void* stub) const {
  const auto found = variables_.find(stub);
  return found == variables_.end() ? nullptr : &found->second;
}

std::string readable_name(const std::string& mangled) {
  int status = 0;
  char* const text = abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status);
  if (status != 0) return mangled;
  std::string name(text);
  std::free(text);
  name = std::regex_replace(name, std::regex(R"(\(anonymous namespace\)::|annulus::|cuda::)"), "");
  if (name.starts_with("void ")) name.erase(0, 5);  // templates' names begin with what they return
  int depth = 0;
  for (size_t i = 0; i < name.size(); ++i) {
    depth += name[i] == '<' ? 1 : name[i] == '>' ? -1 : 0;
    if (name[i] == '(' && depth == 0) return name.substr(0, i);
  }
  return name;
}

}  // namespace annulus::cudasim
