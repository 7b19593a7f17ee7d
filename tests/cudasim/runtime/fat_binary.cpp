#include "tests/cudasim/runtime/fat_binary.h"

#include <elf.h>
#include <fmt/format.h>

#include <cstring>

#include "tests/cudasim/ptx/fault.h"

namespace annulus::cudasim {
namespace {

constexpr uint32_t kMagic = 0xba55ed50;
enum EntryKind : uint16_t { kPtx = 1, kElf = 2 };

template <class T>
T at(const uint8_t* bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes + offset, sizeof(T));
  return value;
}

// One thing in a fat binary. Its header is longer than this; the rest says nothing we need.
struct Entry {
  uint16_t kind;
  uint32_t header_bytes;
  uint64_t bytes;
  uint32_t compressed_bytes;
  uint32_t architecture;

  explicit Entry(const uint8_t* p)
      : kind(at<uint16_t>(p, 0)),
        header_bytes(at<uint32_t>(p, 4)),
        bytes(at<uint64_t>(p, 8)),
        compressed_bytes(at<uint32_t>(p, 16)),
        architecture(at<uint32_t>(p, 28)) {}
};

// Attributes of the section .nv.info: format, attribute, 16 bits; then, in the format that has a size, a symbol's index
// and a value of 32 bits each.
constexpr uint8_t kSized = 4, kRegisterCount = 0x2f, kFrameBytes = 0x11;

// From sm_90 on a block's shared memory begins with bytes that are CUDA's own; ptxas and cuda_occupancy.h leave them
// out.
constexpr uint32_t kReservedSharedBytes = 1024;

class Cubin {
 public:
  Cubin(const uint8_t* bytes, size_t size) : bytes_(bytes), size_(size) {
    require(size >= sizeof(Elf64_Ehdr));
    header_ = at<Elf64_Ehdr>(bytes, 0);
    require(std::memcmp(header_.e_ident, ELFMAG, SELFMAG) == 0 && header_.e_shstrndx < header_.e_shnum &&
            within(header_.e_shoff, uint64_t{header_.e_shnum} * sizeof(Elf64_Shdr)));
    for (unsigned i = 0; i < header_.e_shnum; ++i)
      require(section(i).sh_type == SHT_NOBITS || within(section(i).sh_offset, section(i).sh_size));
    const Elf64_Shdr names = section(header_.e_shstrndx);
    for (unsigned i = 0; i < header_.e_shnum; ++i) sections_.emplace(text(names, section(i).sh_name), section(i));
  }

  std::map<std::string, CompiledKernel> kernels() const {
    std::map<std::string, CompiledKernel> found;
    for (const auto& [name, section] : sections_)
      if (name.starts_with(".text.")) found[name.substr(6)] = {};
    const uint32_t reserved = sections_.contains(".nv.shared.reserved.0") ? kReservedSharedBytes : 0;
    for (auto& [name, kernel] : found)
      if (const auto shared = sections_.find(".nv.shared." + name); shared != sections_.end())
        kernel.shared_bytes = static_cast<uint32_t>(shared->second.sh_size) - reserved;
    if (const auto info = sections_.find(".nv.info"); info != sections_.end()) read_info(info->second, found);
    return found;
  }

 private:
  static void require(bool ok) {
    if (!ok) throw PtxError("a cubin in a fat binary is no ELF file, or not all of one");
  }
  bool within(uint64_t offset, uint64_t bytes) const { return bytes <= size_ && offset <= size_ - bytes; }
  Elf64_Shdr section(unsigned index) const {
    return at<Elf64_Shdr>(bytes_, header_.e_shoff + index * sizeof(Elf64_Shdr));
  }
  std::string text(const Elf64_Shdr& strings, uint64_t offset) const {
    return reinterpret_cast<const char*>(bytes_ + strings.sh_offset + offset);
  }
  std::string symbol(uint32_t index) const {
    const auto symbols = sections_.find(".symtab"), strings = sections_.find(".strtab");
    if (symbols == sections_.end() || strings == sections_.end()) return "";
    return text(strings->second, at<Elf64_Sym>(bytes_, symbols->second.sh_offset + index * sizeof(Elf64_Sym)).st_name);
  }
  void read_info(const Elf64_Shdr& info, std::map<std::string, CompiledKernel>& kernels) const {
    const uint8_t *p = bytes_ + info.sh_offset, *const end = p + info.sh_size;
    while (p + 4 <= end) {
      const uint8_t format = p[0], attribute = p[1];
      const auto size = at<uint16_t>(p, 2);
      if (format == kSized && size >= 8) {
        const auto kernel = kernels.find(symbol(at<uint32_t>(p, 4)));
        if (kernel != kernels.end() && attribute == kRegisterCount) kernel->second.registers = at<uint32_t>(p, 8);
        if (kernel != kernels.end() && attribute == kFrameBytes) kernel->second.local_bytes = at<uint32_t>(p, 8);
      }
      p += format == kSized ? 4 + size : 4;
    }
  }

  const uint8_t* bytes_;
  size_t size_;
  Elf64_Ehdr header_{};
  std::map<std::string, Elf64_Shdr> sections_;
};

}  // namespace

std::map<std::string, CompiledKernel> read_cubin(const uint8_t* bytes, size_t size) {
  return Cubin(bytes, size).kernels();
}

FatBinary read_fat_binary(const void* whole) {
  const auto* p = static_cast<const uint8_t*>(whole);
  if (at<uint32_t>(p, 0) != kMagic) throw PtxError("a fat binary does not begin as one");
  const uint8_t* entry = p + at<uint16_t>(p, 6);
  const uint8_t* const end = entry + at<uint64_t>(p, 8);
  FatBinary result;
  uint32_t newest = 0;
  while (entry < end) {
    const Entry head(entry);
    const uint8_t* payload = entry + head.header_bytes;
    if (head.compressed_bytes != 0)
      throw PtxError("a fat binary is compressed; compile with nvcc --compress-mode=none");
    if (head.kind == kPtx && head.architecture >= newest) {
      newest = head.architecture;
      result.ptx.assign(reinterpret_cast<const char*>(payload),
                        strnlen(reinterpret_cast<const char*>(payload), head.bytes));
    } else if (head.kind == kElf) {
      result.compiled[static_cast<int>(head.architecture)] = read_cubin(payload, head.bytes);
    }
    entry = payload + head.bytes;
  }
  if (result.ptx.empty())
    throw PtxError("a fat binary holds no PTX; compile with -gencode arch=compute_80,code=compute_80");
  return result;
}

}  // namespace annulus::cudasim
