#pragma once
// Memory that is sized before the first step and never grows: a stack of 64-byte aligned tensors.
#include <cstdint>
#include <string>

#include "runtime/core/tensor.h"

namespace annulus {

/// An arena starts *measuring*: take() returns tensors without memory (Device::kShape) and notes the high-water mark.
/// commit() maps that many bytes; from then on take() hands out real memory, and asking for more than was measured is a
/// bug. One training step run on a measuring arena is thereby the memory plan of every later step.
class Arena {
 public:
  explicit Arena(std::string category) : category_(std::move(category)) {}
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Contents are undefined: every op writes its whole output.
  TensorView take(Shape shape, Dtype dtype = Dtype::kF32);

  /// Maps high_water() bytes, page-touched on first use. Throws UserError (71) if the system refuses.
  void commit();

  /// Gives everything back, keeps the memory.
  void reset() { used_ = 0; }

  /// What was taken during the scope is given back at its end.
  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), mark_(arena.used_) {}
    ~Scope() { arena_.used_ = mark_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    int64_t mark_;
  };

  const std::string& category() const { return category_; }
  int64_t high_water() const { return high_water_; }
  bool measuring() const { return memory_ == nullptr; }

 private:
  std::string category_;
  char* memory_ = nullptr;
  int64_t capacity_ = 0, used_ = 0, high_water_ = 0;
};

}  // namespace annulus
