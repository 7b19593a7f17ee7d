#pragma once
// A decoder language model over a scalar T: double is the exact model, float the plain fp32 loop, Var gives gradients.
// One sequence at a time; inside, activations are (S, width) row-major. Shares no code with annulus, nor with layers.h.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/oracle/attention.h"
#include "tests/oracle/tape.h"
#include "tests/oracle/vectors.h"

namespace oracle {

struct TransformerShape {
  int64_t layers, width, heads, kv_heads, head_dim, ffn, vocab;
  bool tied;  // the head is the embedding
  double rope_base, norm_eps;
};

/// tokens, labels (B,S); label -1 is not counted. Row s of each sequence is position s.
struct TokenBatch {
  int64_t B, S;
  std::vector<int64_t> tokens, labels;
};

template <class T>
using NamedVectors = std::map<std::string, std::vector<T>>;
using Parameters = NamedVectors<double>;

struct LossAndGradients {
  double loss;
  Parameters gradients;
};

/// Name -> global shape of every parameter; linear weights are (out, in).
inline std::map<std::string, std::vector<int64_t>> parameter_shapes(const TransformerShape& s) {
  std::map<std::string, std::vector<int64_t>> shapes;
  shapes["embedding"] = {s.vocab, s.width};
  for (int64_t i = 0; i < s.layers; ++i) {
    const std::string layer = "layers/" + std::to_string(i) + "/";
    shapes[layer + "attention_norm"] = {s.width};
    shapes[layer + "attention/q_proj"] = {s.heads * s.head_dim, s.width};
    shapes[layer + "attention/k_proj"] = {s.kv_heads * s.head_dim, s.width};
    shapes[layer + "attention/v_proj"] = {s.kv_heads * s.head_dim, s.width};
    shapes[layer + "attention/out_proj"] = {s.width, s.heads * s.head_dim};
    shapes[layer + "mlp_norm"] = {s.width};
    shapes[layer + "mlp/gate_proj"] = {s.ffn, s.width};
    shapes[layer + "mlp/up_proj"] = {s.ffn, s.width};
    shapes[layer + "mlp/down_proj"] = {s.width, s.ffn};
  }
  shapes["final_norm"] = {s.width};
  if (!s.tied) shapes["head"] = {s.vocab, s.width};
  return shapes;
}

namespace decoder {

inline double value_of(double x) { return x; }
inline double value_of(float x) { return static_cast<double>(x); }
inline double value_of(Var x) { return x.value(); }

/// The same call as the tape's dot, for plain scalars.
template <class T>
T dot(const T* a, int64_t stride_a, const T* b, int64_t stride_b, int64_t n) {
  T sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i * stride_a] * b[i * stride_b];
  return sum;
}

/// The largest value, as a constant: softmax does not change when a constant is subtracted, so that it needs no
/// gradient.
template <class T>
T largest_of(const T* x, int64_t n) {
  double largest = value_of(x[0]);
  for (int64_t i = 1; i < n; ++i) largest = std::max(largest, value_of(x[i]));
  return T(largest);
}

/// x (S,in), w (out,in) -> (S,out).
template <class T>
std::vector<T> project(const std::vector<T>& x, const std::vector<T>& w, int64_t in) {
  const int64_t S = length(x) / in, out = length(w) / in;
  std::vector<T> y;
  for (int64_t s = 0; s < S; ++s)
    for (int64_t o = 0; o < out; ++o) y.push_back(dot(x.data() + s * in, 1, w.data() + o * in, 1, in));
  return y;
}

/// x (S,C), gain (C) -> (S,C).
template <class T>
std::vector<T> normalised(const std::vector<T>& x, const std::vector<T>& gain, double eps) {
  using std::sqrt;
  const int64_t C = length(gain), S = length(x) / C;
  std::vector<T> y;
  for (int64_t s = 0; s < S; ++s) {
    const T* row = x.data() + s * C;
    const T rms = sqrt(dot(row, 1, row, 1, C) / T(static_cast<double>(C)) + T(eps));
    for (int64_t c = 0; c < C; ++c) y.push_back(row[c] / rms * gain[c]);
  }
  return y;
}

/// x (S,heads,D) -> the same, the pair (i, i + D/2) of the head at position s turned by s * base^(-2i/D).
template <class T>
std::vector<T> rotated(const std::vector<T>& x, int64_t heads, int64_t D, double base) {
  const int64_t S = length(x) / (heads * D);
  std::vector<T> y(x.size());
  for (int64_t s = 0; s < S; ++s) {
    for (int64_t i = 0; i < D / 2; ++i) {
      const double angle =
          static_cast<double>(s) / std::pow(base, 2.0 * static_cast<double>(i) / static_cast<double>(D));
      const T cosine = T(std::cos(angle)), sine = T(std::sin(angle));
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t a = (s * heads + h) * D + i, b = a + D / 2;
        y[a] = x[a] * cosine - x[b] * sine;
        y[b] = x[a] * sine + x[b] * cosine;
      }
    }
  }
  return y;
}

/// One query vector q (D) against the rows `keys` of its head's k and v, which lie `stride` elements apart. Appends (D)
/// to out.
template <class T>
void attend_row(const T* q, const T* k, const T* v, int64_t stride, int64_t D, const std::vector<int64_t>& keys,
                std::vector<T>& out) {
  using std::exp;
  if (keys.empty()) {
    out.insert(out.end(), static_cast<size_t>(D), T(0.0));
    return;
  }
  std::vector<T> score, weight, seen_v;  // seen_v (keys, D)
  for (const int64_t j : keys) {
    score.push_back(dot(q, 1, k + j * stride, 1, D) / T(std::sqrt(static_cast<double>(D))));
    seen_v.insert(seen_v.end(), v + j * stride, v + j * stride + D);
  }
  const T largest = largest_of(score.data(), length(score));
  T sum = T(0.0);
  for (const T& s : score) {
    weight.push_back(exp(s - largest));
    sum += weight.back();
  }
  for (int64_t d = 0; d < D; ++d) out.push_back(dot(weight.data(), 1, seen_v.data() + d, D, length(keys)) / sum);
}

/// q (S,H,D), k, v (S,K,D) -> (S,H,D).
template <class T>
std::vector<T> attend(const std::vector<T>& q, const std::vector<T>& k, const std::vector<T>& v,
                      const TransformerShape& shape, const std::vector<Slice>& slices) {
  const int64_t H = shape.heads, K = shape.kv_heads, D = shape.head_dim, S = length(q) / (H * D);
  std::vector<T> out;
  for (int64_t s = 0; s < S; ++s) {
    const std::vector<int64_t> keys = visible_keys(slices, s, S);
    for (int64_t h = 0; h < H; ++h) {
      const int64_t kv = h / (H / K) * D;
      attend_row(q.data() + (s * H + h) * D, k.data() + kv, v.data() + kv, K * D, D, keys, out);
    }
  }
  return out;
}

/// silu(gate) * up.
template <class T>
std::vector<T> gated(const std::vector<T>& gate, const std::vector<T>& up) {
  using std::exp;
  std::vector<T> y;
  for (size_t i = 0; i < gate.size(); ++i) y.push_back(gate[i] / (T(1.0) + exp(-gate[i])) * up[i]);
  return y;
}

template <class T>
void add_to(std::vector<T>& x, const std::vector<T>& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
}

/// tokens (S) -> logits (S,V).
template <class T>
std::vector<T> logits(const TransformerShape& shape, const NamedVectors<T>& p, const int64_t* tokens, int64_t S,
                      const std::vector<Slice>& slices) {
  const int64_t C = shape.width, D = shape.head_dim;
  const std::vector<T>& embedding = p.at("embedding");
  std::vector<T> x;  // (S,C)
  for (int64_t s = 0; s < S; ++s)
    for (int64_t c = 0; c < C; ++c) x.push_back(embedding[tokens[s] * C + c]);
  for (int64_t i = 0; i < shape.layers; ++i) {
    const auto weight = [&](const char* name) -> const std::vector<T>& {
      return p.at("layers/" + std::to_string(i) + "/" + name);
    };
    const std::vector<T> normed = normalised(x, weight("attention_norm"), shape.norm_eps);
    const std::vector<T> q = rotated(project(normed, weight("attention/q_proj"), C), shape.heads, D, shape.rope_base);
    const std::vector<T> k =
        rotated(project(normed, weight("attention/k_proj"), C), shape.kv_heads, D, shape.rope_base);
    const std::vector<T> v = project(normed, weight("attention/v_proj"), C);
    add_to(x, project(attend(q, k, v, shape, slices), weight("attention/out_proj"), shape.heads * D));
    const std::vector<T> mlp_in = normalised(x, weight("mlp_norm"), shape.norm_eps);
    const std::vector<T> hidden =
        gated(project(mlp_in, weight("mlp/gate_proj"), C), project(mlp_in, weight("mlp/up_proj"), C));
    add_to(x, project(hidden, weight("mlp/down_proj"), shape.ffn));
  }
  return project(normalised(x, p.at("final_norm"), shape.norm_eps), shape.tied ? embedding : p.at("head"), C);
}

/// Sum over the labels >= 0 of sequence b of -log softmax(logits)[label].
template <class T>
T sequence_loss(const TransformerShape& shape, const NamedVectors<T>& p, const TokenBatch& batch, int64_t b,
                const std::vector<Slice>& slices) {
  using std::exp;
  using std::log;
  const int64_t V = shape.vocab;
  const std::vector<T> all = logits(shape, p, batch.tokens.data() + b * batch.S, batch.S, slices);
  T loss = T(0.0);
  for (int64_t s = 0; s < batch.S; ++s) {
    const int64_t label = batch.labels[b * batch.S + s];
    if (label < 0) continue;
    const T* row = all.data() + s * V;
    const T largest = largest_of(row, V);
    T sum = T(0.0);
    for (int64_t c = 0; c < V; ++c) sum += exp(row[c] - largest);
    loss += log(sum) - (row[label] - largest);
  }
  return loss;
}

inline int64_t num_labels(const TokenBatch& batch) {
  return std::count_if(batch.labels.begin(), batch.labels.end(), [](int64_t label) { return label >= 0; });
}

inline void check(const TransformerShape& shape, const Parameters& parameters, const TokenBatch& batch) {
  require(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0, "transformer: heads is not a multiple of kv_heads");
  require(shape.head_dim % 2 == 0, "transformer: head_dim is odd");
  const auto expected = parameter_shapes(shape);
  for (const auto& [name, values] : parameters)
    require(expected.count(name) == 1, ("transformer: there is no parameter called " + name).c_str());
  for (const auto& [name, dims] : expected) {
    int64_t size = 1;
    for (const int64_t dim : dims) size *= dim;
    const auto found = parameters.find(name);
    require(found != parameters.end() && length(found->second) == size,
            ("transformer: missing or of wrong size: " + name).c_str());
  }
  require(length(batch.tokens) == batch.B * batch.S && batch.labels.size() == batch.tokens.size(),
          "transformer: batch is not (B,S)");
  for (const int64_t token : batch.tokens)
    require(0 <= token && token < shape.vocab, "transformer: a token is outside [0, V)");
  for (const int64_t label : batch.labels)
    require(-1 <= label && label < shape.vocab, "transformer: a label is outside [-1, V)");
  require(num_labels(batch) > 0, "transformer: a batch without labels has no loss");
}

/// Mean over the labels >= 0, every step in T.
template <class T>
double plain_loss(const TransformerShape& shape, const Parameters& parameters, const TokenBatch& batch,
                  const std::vector<Slice>& slices) {
  check(shape, parameters, batch);
  NamedVectors<T> p;
  for (const auto& [name, values] : parameters) p[name] = converted<T>(values);
  T sum = 0;
  for (int64_t b = 0; b < batch.B; ++b) sum += sequence_loss(shape, p, batch, b, slices);
  return static_cast<double>(sum / static_cast<T>(num_labels(batch)));
}

}  // namespace decoder

/// The exact loss: nats per label.
inline double loss(const TransformerShape& shape, const Parameters& parameters, const TokenBatch& batch,
                   const std::vector<Slice>& slices) {
  return decoder::plain_loss<double>(shape, parameters, batch, slices);
}

/// The plain fp32 loop.
inline double loss_fp32(const TransformerShape& shape, const Parameters& parameters, const TokenBatch& batch,
                        const std::vector<Slice>& slices) {
  return decoder::plain_loss<float>(shape, parameters, batch, slices);
}

/// The exact loss and its gradient by parameter name. One sequence is on the tape at a time, which bounds memory.
inline LossAndGradients loss_and_gradients(const TransformerShape& shape, const Parameters& parameters,
                                           const TokenBatch& batch, const std::vector<Slice>& slices) {
  decoder::check(shape, parameters, batch);
  LossAndGradients result{.loss = 0.0, .gradients = {}};
  for (const auto& [name, values] : parameters) result.gradients[name].assign(values.size(), 0.0);
  for (int64_t b = 0; b < batch.B; ++b) {
    const TapeScope scope;
    NamedVectors<Var> leaves;
    for (const auto& [name, values] : parameters) leaves[name] = converted<Var>(values);
    const Var sum = decoder::sequence_loss(shape, leaves, batch, b, slices);
    backward(sum);
    result.loss += sum.value();
    for (auto& [name, gradient] : result.gradients)
      for (size_t i = 0; i < gradient.size(); ++i) gradient[i] += leaves[name][i].gradient();
  }
  const double labels = static_cast<double>(decoder::num_labels(batch));
  result.loss /= labels;
  for (auto& [name, gradient] : result.gradients)
    for (double& g : gradient) g /= labels;
  return result;
}

}  // namespace oracle
