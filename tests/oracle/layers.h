#pragma once
// The layers around attention as plain loops in one scalar type T, each a forward and a hand-derived backward.
// Inputs are doubles, row-major, converted to T on entry. N counts rows (tokens) and follows from the vector lengths.
// Unlike the layers of annulus, every backward returns its gradients and adds to nothing.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/oracle/vectors.h"

namespace oracle {

/// Rows of `width` entries in x; throws where x does not divide into them.
inline int64_t num_rows(const std::vector<double>& x, int64_t width) {
  require(width > 0 && length(x) % width == 0, "a layer's input does not divide into rows of the given width");
  return length(x) / width;
}

// ---- RMSNorm: y = x * rstd * gain, rstd = 1 / sqrt(mean(x^2) + eps). x, y (N,C), gain (C), rstd (N).
template <class T>
struct RmsNormForward {
  std::vector<T> y, rstd;
};

template <class T>
RmsNormForward<T> rms_norm_forward(const std::vector<double>& x64, const std::vector<double>& gain64, double eps) {
  const int64_t C = length(gain64), N = num_rows(x64, C);
  const std::vector<T> x = converted<T>(x64), gain = converted<T>(gain64);
  RmsNormForward<T> r{.y = std::vector<T>(x.size()), .rstd = std::vector<T>(static_cast<size_t>(N))};
  for (int64_t n = 0; n < N; ++n) {
    T sum_sq = 0;
    for (int64_t c = 0; c < C; ++c) sum_sq += x[n * C + c] * x[n * C + c];
    r.rstd[n] = T(1) / std::sqrt(sum_sq / static_cast<T>(C) + static_cast<T>(eps));
    for (int64_t c = 0; c < C; ++c) r.y[n * C + c] = x[n * C + c] * r.rstd[n] * gain[c];
  }
  return r;
}

template <class T>
struct RmsNormBackward {
  std::vector<T> dx, dgain;
};

/// d rstd / d x_c = -rstd^3 x_c / C, hence dx_c = rstd gain_c dy_c - rstd^3 x_c / C * sum_k(dy_k gain_k x_k).
template <class T>
RmsNormBackward<T> rms_norm_backward(const std::vector<double>& x64, const std::vector<double>& gain64,
                                     const std::vector<double>& dy64, double eps) {
  require(dy64.size() == x64.size(), "rms_norm: dy is not like x");
  const int64_t C = length(gain64), N = num_rows(x64, C);
  const std::vector<T> x = converted<T>(x64), gain = converted<T>(gain64), dy = converted<T>(dy64);
  const std::vector<T> rstd = rms_norm_forward<T>(x64, gain64, eps).rstd;
  RmsNormBackward<T> r{.dx = std::vector<T>(x.size()), .dgain = std::vector<T>(gain.size())};
  for (int64_t n = 0; n < N; ++n) {
    T sum = 0;
    for (int64_t c = 0; c < C; ++c) sum += dy[n * C + c] * gain[c] * x[n * C + c];
    const T pull = rstd[n] * rstd[n] * rstd[n] * sum / static_cast<T>(C);
    for (int64_t c = 0; c < C; ++c) {
      r.dx[n * C + c] = rstd[n] * gain[c] * dy[n * C + c] - pull * x[n * C + c];
      r.dgain[c] += dy[n * C + c] * x[n * C + c] * rstd[n];
    }
  }
  return r;
}

// ---- RoPE, half-split: the pair (x_i, x_{i+D/2}) turns by position * base^(-2i/D). x (B,tokens,heads,D).
/// `direction` +1 turns forward, -1 back. The angle, its sine and its cosine are computed in long double for every T,
/// so that they are exact to a double at any position.
template <class T>
std::vector<T> rope_turned(const std::vector<double>& x64, const std::vector<int64_t>& positions, int64_t heads,
                           int64_t D, double base, double direction) {
  require(D % 2 == 0, "rope: D is odd");
  const int64_t tokens = length(positions), N = num_rows(x64, heads * D), half = D / 2;
  require(tokens > 0 ? N % tokens == 0 : N == 0, "rope: x does not have the shape (B,tokens,heads,D)");
  const std::vector<T> x = converted<T>(x64);
  std::vector<T> y(x.size());
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t i = 0; i < half; ++i) {
      const auto position = static_cast<long double>(positions[n % tokens]), pair = static_cast<long double>(i);
      const long double angle =
          position * std::pow(static_cast<long double>(base), -2 * pair / static_cast<long double>(D));
      const T cosine = static_cast<T>(std::cos(angle)), sine = static_cast<T>(direction * std::sin(angle));
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t first = (n * heads + h) * D + i, second = first + half;
        y[first] = x[first] * cosine - x[second] * sine;
        y[second] = x[second] * cosine + x[first] * sine;
      }
    }
  }
  return y;
}

template <class T>
std::vector<T> rope_forward(const std::vector<double>& x, const std::vector<int64_t>& positions, int64_t heads,
                            int64_t D, double base) {
  return rope_turned<T>(x, positions, heads, D, base, 1.0);
}

/// A rotation's transpose is the rotation back.
template <class T>
std::vector<T> rope_backward(const std::vector<double>& dy, const std::vector<int64_t>& positions, int64_t heads,
                             int64_t D, double base) {
  return rope_turned<T>(dy, positions, heads, D, base, -1.0);
}

// ---- SwiGLU: y = silu(gate) * up, silu(g) = g * sigmoid(g). All alike.
template <class T>
std::vector<T> swiglu_forward(const std::vector<double>& gate64, const std::vector<double>& up64) {
  require(gate64.size() == up64.size(), "swiglu: up is not like gate");
  const std::vector<T> gate = converted<T>(gate64), up = converted<T>(up64);
  std::vector<T> y(gate.size());
  for (size_t i = 0; i < y.size(); ++i) {
    const T sigmoid = T(1) / (T(1) + std::exp(-gate[i]));
    y[i] = gate[i] * sigmoid * up[i];
  }
  return y;
}

template <class T>
struct SwigluBackward {
  std::vector<T> dgate, dup;
};

/// silu'(g) = sigmoid(g) * (1 + g * (1 - sigmoid(g))).
template <class T>
SwigluBackward<T> swiglu_backward(const std::vector<double>& gate64, const std::vector<double>& up64,
                                  const std::vector<double>& dy64) {
  require(gate64.size() == up64.size() && gate64.size() == dy64.size(), "swiglu: up or dy is not like gate");
  const std::vector<T> gate = converted<T>(gate64), up = converted<T>(up64), dy = converted<T>(dy64);
  SwigluBackward<T> r{.dgate = std::vector<T>(gate.size()), .dup = std::vector<T>(gate.size())};
  for (size_t i = 0; i < gate.size(); ++i) {
    const T sigmoid = T(1) / (T(1) + std::exp(-gate[i]));
    r.dgate[i] = dy[i] * up[i] * sigmoid * (T(1) + gate[i] * (T(1) - sigmoid));
    r.dup[i] = dy[i] * gate[i] * sigmoid;
  }
  return r;
}

// ---- Embedding: y[n] = table[tokens[n]]. table (V,C), y (N,C).
template <class T>
std::vector<T> embedding_forward(const std::vector<double>& table64, const std::vector<int64_t>& tokens, int64_t C) {
  const int64_t N = length(tokens), V = num_rows(table64, C);
  const std::vector<T> table = converted<T>(table64);
  std::vector<T> y(static_cast<size_t>(N * C));
  for (int64_t n = 0; n < N; ++n) {
    require(0 <= tokens[n] && tokens[n] < V, "embedding: a token is outside [0, V)");
    for (int64_t c = 0; c < C; ++c) y[n * C + c] = table[tokens[n] * C + c];
  }
  return y;
}

/// -> dtable (V,C).
template <class T>
std::vector<T> embedding_backward(const std::vector<int64_t>& tokens, const std::vector<double>& dy64, int64_t V,
                                  int64_t C) {
  const int64_t N = length(tokens);
  require(length(dy64) == N * C, "embedding: dy does not have the shape (N,C)");
  const std::vector<T> dy = converted<T>(dy64);
  std::vector<T> dtable(static_cast<size_t>(V * C));
  for (int64_t n = 0; n < N; ++n) {
    require(0 <= tokens[n] && tokens[n] < V, "embedding: a token is outside [0, V)");
    for (int64_t c = 0; c < C; ++c) dtable[tokens[n] * C + c] += dy[n * C + c];
  }
  return dtable;
}

// ---- Linear: y = x W^T. x (N,in), W (out,in), y (N,out).
template <class T>
std::vector<T> linear_forward(const std::vector<double>& x64, const std::vector<double>& w64, int64_t in) {
  const int64_t N = num_rows(x64, in), out = num_rows(w64, in);
  const std::vector<T> x = converted<T>(x64), w = converted<T>(w64);
  std::vector<T> y(static_cast<size_t>(N * out));
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t o = 0; o < out; ++o) {
      T sum = 0;
      for (int64_t i = 0; i < in; ++i) sum += x[n * in + i] * w[o * in + i];
      y[n * out + o] = sum;
    }
  }
  return y;
}

template <class T>
struct LinearBackward {
  std::vector<T> dx, dw;
};

/// dx = dy W, dW = dy^T x.
template <class T>
LinearBackward<T> linear_backward(const std::vector<double>& x64, const std::vector<double>& w64,
                                  const std::vector<double>& dy64, int64_t in) {
  const int64_t N = num_rows(x64, in), out = num_rows(w64, in);
  require(length(dy64) == N * out, "linear: dy does not have the shape (N,out)");
  const std::vector<T> x = converted<T>(x64), w = converted<T>(w64), dy = converted<T>(dy64);
  LinearBackward<T> r{.dx = std::vector<T>(x.size()), .dw = std::vector<T>(w.size())};
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t o = 0; o < out; ++o) {
      for (int64_t i = 0; i < in; ++i) {
        r.dx[n * in + i] += dy[n * out + o] * w[o * in + i];
        r.dw[o * in + i] += dy[n * out + o] * x[n * in + i];
      }
    }
  }
  return r;
}

// ---- Cross entropy: sum over rows with a label >= 0 of -log softmax(logits)[label]; label -1 is not counted. logits
// (N,V).
template <class T>
struct CrossEntropyResult {
  T loss_sum;
  int64_t num_labels;
  std::vector<T> dlogits;  // (softmax - onehot) * grad_scale, 0 in rows that are not counted
};

template <class T>
CrossEntropyResult<T> cross_entropy(const std::vector<double>& logits64, const std::vector<int64_t>& labels, int64_t V,
                                    double grad_scale) {
  const int64_t N = num_rows(logits64, V);
  require(length(labels) == N, "cross_entropy: not one label per row of logits");
  const std::vector<T> logits = converted<T>(logits64);
  CrossEntropyResult<T> r{.loss_sum = 0, .num_labels = 0, .dlogits = std::vector<T>(logits.size())};
  for (int64_t n = 0; n < N; ++n) {
    require(-1 <= labels[n] && labels[n] < V, "cross_entropy: a label is outside [-1, V)");
    if (labels[n] < 0) continue;
    const T* row = logits.data() + n * V;
    const T largest = *std::max_element(row, row + V);
    T sum = 0;
    for (int64_t c = 0; c < V; ++c) sum += std::exp(row[c] - largest);
    r.loss_sum += std::log(sum) - (row[labels[n]] - largest);
    r.num_labels += 1;
    for (int64_t c = 0; c < V; ++c) {
      const T softmax = std::exp(row[c] - largest) / sum, onehot = c == labels[n] ? T(1) : T(0);
      r.dlogits[n * V + c] = (softmax - onehot) * static_cast<T>(grad_scale);
    }
  }
  return r;
}

// ---- AdamW, arXiv:1711.05101: one step, bias-corrected, with decoupled decay. All vectors alike.
struct AdamwOptions {
  double learning_rate, beta1, beta2, eps, decay;
  int64_t step;  // 1 for the first
};

template <class T>
struct AdamwResult {
  std::vector<T> w, m, v;
};

/// The two bias corrections 1 - beta^step are scalars of the step and computed in double for every T.
template <class T>
AdamwResult<T> adamw(const std::vector<double>& w64, const std::vector<double>& m64, const std::vector<double>& v64,
                     const std::vector<double>& gradient64, const AdamwOptions& options) {
  require(w64.size() == m64.size() && w64.size() == v64.size() && w64.size() == gradient64.size(),
          "adamw: vectors differ in length");
  require(options.step >= 1, "adamw: steps are counted from 1");
  AdamwResult<T> r{.w = converted<T>(w64), .m = converted<T>(m64), .v = converted<T>(v64)};
  const std::vector<T> gradient = converted<T>(gradient64);
  const double step = static_cast<double>(options.step);
  const T correction1 = static_cast<T>(1.0 - std::pow(options.beta1, step));
  const T correction2 = static_cast<T>(1.0 - std::pow(options.beta2, step));
  const T beta1 = static_cast<T>(options.beta1), beta2 = static_cast<T>(options.beta2),
          eps = static_cast<T>(options.eps);
  const T learning_rate = static_cast<T>(options.learning_rate), decay = static_cast<T>(options.decay);
  for (size_t i = 0; i < r.w.size(); ++i) {
    r.m[i] = beta1 * r.m[i] + (T(1) - beta1) * gradient[i];
    r.v[i] = beta2 * r.v[i] + (T(1) - beta2) * gradient[i] * gradient[i];
    const T mhat = r.m[i] / correction1, vhat = r.v[i] / correction2;
    r.w[i] -= learning_rate * (mhat / (std::sqrt(vhat) + eps) + decay * r.w[i]);
  }
  return r;
}

}  // namespace oracle
