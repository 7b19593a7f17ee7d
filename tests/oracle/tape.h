#pragma once
// Reverse-mode automatic differentiation in double. A Var is the number of a node on this thread's tape; arithmetic on
// Vars appends nodes; backward(loss) walks the tape from the loss to the first node and leaves d loss / d node in every
// node. A dot product is one node: a model takes some 70 bytes per activation, but only 8 per multiplication.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/oracle/vectors.h"

namespace oracle {

struct TapeNode {
  double value = 0.0, gradient = 0.0;
  double slope[2] = {0.0, 0.0};  // d value / d parent
  uint32_t parent[2] = {0, 0};
  uint32_t num_parents = 0;
  uint32_t dot_length = 0;  // a dot product has no parents above but this many operand pairs on the tape
  size_t first_pair = 0;
};

struct TapePair {
  uint32_t a, b;
};

struct Tape {
  std::vector<TapeNode> nodes;
  std::vector<TapePair> pairs;
};

inline Tape& this_threads_tape() {
  thread_local Tape tape;
  return tape;
}

/// Starts an empty tape and frees it at the end. Vars live no longer than their scope; scopes do not nest.
class TapeScope {
 public:
  TapeScope() { require(this_threads_tape().nodes.empty(), "this thread's tape is in use: TapeScopes do not nest"); }
  ~TapeScope() { this_threads_tape() = Tape{}; }
  TapeScope(const TapeScope&) = delete;
  TapeScope& operator=(const TapeScope&) = delete;
};

/// The functions are friends found through their arguments only, so that no exp(double) in this namespace becomes one
/// on the tape.
class Var {
 public:
  Var() = default;                                 // no node: must be assigned before use
  Var(double value) { append({.value = value}); }  // a leaf; implicit, so that `2.0 * x` works

  double value() const { return this_threads_tape().nodes.at(index_).value; }
  double gradient() const { return this_threads_tape().nodes.at(index_).gradient; }  // after backward()

  friend Var operator+(Var a, Var b) { return binary(a.value() + b.value(), a, 1.0, b, 1.0); }
  friend Var operator-(Var a, Var b) { return binary(a.value() - b.value(), a, 1.0, b, -1.0); }
  friend Var operator*(Var a, Var b) { return binary(a.value() * b.value(), a, b.value(), b, a.value()); }
  friend Var operator/(Var a, Var b) {
    return binary(a.value() / b.value(), a, 1.0 / b.value(), b, -a.value() / (b.value() * b.value()));
  }
  friend Var operator-(Var a) { return unary(-a.value(), a, -1.0); }
  Var& operator+=(Var b) { return *this = *this + b; }

  friend Var exp(Var a) { return unary(std::exp(a.value()), a, std::exp(a.value())); }
  friend Var log(Var a) { return unary(std::log(a.value()), a, 1.0 / a.value()); }
  friend Var sqrt(Var a) { return unary(std::sqrt(a.value()), a, 0.5 / std::sqrt(a.value())); }

  /// sum over i < n of a[i * stride_a] * b[i * stride_b], as one node.
  friend Var dot(const Var* a, int64_t stride_a, const Var* b, int64_t stride_b, int64_t n) {
    Tape& tape = this_threads_tape();
    TapeNode node{.dot_length = static_cast<uint32_t>(n), .first_pair = tape.pairs.size()};
    for (int64_t i = 0; i < n; ++i) {
      const Var x = a[i * stride_a], y = b[i * stride_b];
      node.value += x.value() * y.value();
      tape.pairs.push_back({x.index_, y.index_});
    }
    Var result;
    result.append(node);
    return result;
  }

  friend void backward(Var loss);

 private:
  static Var unary(double value, Var a, double slope) {
    Var result;
    result.append({.value = value, .slope = {slope, 0.0}, .parent = {a.index_, 0}, .num_parents = 1});
    return result;
  }
  static Var binary(double value, Var a, double slope_a, Var b, double slope_b) {
    Var result;
    result.append({.value = value, .slope = {slope_a, slope_b}, .parent = {a.index_, b.index_}, .num_parents = 2});
    return result;
  }
  void append(const TapeNode& node) {
    Tape& tape = this_threads_tape();
    require(tape.nodes.size() < kNoNode, "the tape is full");
    index_ = static_cast<uint32_t>(tape.nodes.size());
    tape.nodes.push_back(node);
  }

  static constexpr uint32_t kNoNode = UINT32_MAX;
  uint32_t index_ = kNoNode;
};

/// Leaves d loss / d x in every Var x of the tape, for gradient() to read. May be called again with another loss.
inline void backward(Var loss) {
  Tape& tape = this_threads_tape();
  for (TapeNode& node : tape.nodes) node.gradient = 0.0;
  tape.nodes.at(loss.index_).gradient = 1.0;
  for (size_t n = size_t{loss.index_} + 1; n-- > 0;) {  // parents come before children on the tape
    const TapeNode& node = tape.nodes[n];
    for (uint32_t p = 0; p < node.num_parents; ++p)
      tape.nodes[node.parent[p]].gradient += node.gradient * node.slope[p];
    for (size_t i = node.first_pair; i < node.first_pair + node.dot_length; ++i) {
      TapeNode &a = tape.nodes[tape.pairs[i].a], &b = tape.nodes[tape.pairs[i].b];
      a.gradient += node.gradient * b.value;
      b.gradient += node.gradient * a.value;
    }
  }
}

}  // namespace oracle
