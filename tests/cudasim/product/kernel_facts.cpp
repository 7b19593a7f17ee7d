#include "tests/cudasim/product/kernel_facts.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <stdexcept>

#include "tests/cudasim/product/gpu.h"
#include "tests/cudasim/runtime/kernel_registry.h"

namespace annulus::cudasim {
namespace {

constexpr int kWarp = 32;

std::vector<double> ramp(int64_t n) {
  std::vector<double> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i % 31) / 16.0 - 1.0;
  return values;
}

std::vector<int64_t> counting(int64_t n, int64_t below) {
  std::vector<int64_t> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int64_t>(i) * 7 % below;
  return values;
}

template <class T>
std::string named(const std::string& kernel, const std::string& before = "") {
  return kernel + "_kernel<" + before + (sizeof(T) == 4 ? "float" : "Bf16") + ">";
}

// The workloads, each beside what its passes come to.
class Workloads {
 public:
  explicit Workloads(Gpu& gpu) : gpu_(gpu) {}
  std::vector<KernelTraffic> take() { return std::move(all_); }

  template <class T>
  void layers() {
    norm<T>(/*C=*/1024, "32, ");
    norm<T>(/*C=*/4096, "256, ");
    rope<T>();
    swiglu<T>();
    embedding<T>();
  }
  template <class T>
  void buffers();
  void updates();

 private:
  void expect(const std::string& kernel, int64_t elements, int64_t bytes, const std::string& passes) {
    const auto known = std::find_if(all_.begin(), all_.end(), [&](const auto& one) { return one.name == kernel; });
    if (known == all_.end())
      all_.push_back({.name = kernel, .passes = passes, .elements = elements, .bytes = bytes, .statistics = {}});
    else
      known->elements += elements, known->bytes += bytes;
  }
  template <class T>
  T* up(int64_t n) {
    return gpu_.up<T>(ramp(n));
  }
  template <class T>
  void norm(int64_t C, const std::string& team);
  template <class T>
  void rope();
  template <class T>
  void swiglu();
  template <class T>
  void embedding();

  Gpu& gpu_;
  std::vector<KernelTraffic> all_;
};

template <class T>
constexpr int64_t kSize = sizeof(T);
template <class T>
const std::string kLanes = std::to_string(16 / sizeof(T)) + ", ";

template <class T>
void Workloads::norm(int64_t C, const std::string& team) {
  const int64_t N = 64, n = N * C;
  T *const x = up<T>(n), *const y = up<T>(n), *const gain = up<T>(C), *const residual = up<T>(n);
  float *const rstd = up<float>(N), *const dgain = up<float>(C), *const sums = up<float>(C);
  gpu_.ran(product_ops<T>().rms_norm_forward(y, rstd, x, gain, N, C, 1e-5f, gpu_.stream()));
  gpu_.ran(product_ops<T>().rms_norm_backward(y, dgain, y, x, rstd, gain, residual, N, C, sums, gpu_.stream()));
  expect(named<T>("rms_norm_forward", kLanes<T> + team), n, 4 * n * kSize<T> + 4 * N, "x 2, gain 1 a token, y 1");
  expect(named<T>("rms_norm_dx", kLanes<T> + team), n, 8 * n * kSize<T> + 4 * N,
         "dy 2, x 2, gain 2 a token, residual 1, dx 1");
  expect(named<T>("rms_norm_gain_sums", kLanes<T>), n, 2 * n * kSize<T> + 4 * C + 4 * N, "dy 1, x 1, sums 1");
}

template <class T>
void Workloads::rope() {
  const int64_t N = 32, H = 16, D = 128, n = N * H * D;
  T* const x = up<T>(n);
  float *const cosine = up<float>(N * D / 2), *const sine = up<float>(N * D / 2);
  gpu_.ran(product_ops<T>().rope(x, H * D, cosine, sine, N, N, H, D, 1.0f, gpu_.stream()));
  expect(named<T>("rope", "4, "), n, 2 * n * kSize<T> + n / 2 / 2 * 8, "x 2, angles 1 for two heads");
}

template <class T>
void Workloads::swiglu() {
  const int64_t N = 16, F = 1024, n = N * F;
  T *const gate_up = up<T>(2 * n), *const y = up<T>(n), *const dgate_up = gpu_.room<T>(2 * n);
  gpu_.ran(product_ops<T>().swiglu_forward(y, gate_up, N, F, gpu_.stream()));
  gpu_.ran(product_ops<T>().swiglu_backward(dgate_up, y, gate_up, N, F, gpu_.stream()));
  expect(named<T>("swiglu_forward", kLanes<T>), n, 3 * n * kSize<T>, "gate 1, up 1, y 1");
  expect(named<T>("swiglu_backward", kLanes<T>), n, 5 * n * kSize<T>, "gate 1, up 1, dy 1, dgate 1, dup 1");
}

// Tokens of 64 kinds, four of each.
template <class T>
void Workloads::embedding() {
  const int64_t V = 64, N = 256, C = 1024, n = N * C;
  T *const table = up<T>(V * C), *const y = gpu_.room<T>(n), *const dy = up<T>(n);
  float* const dtable = up<float>(V * C);
  const int32_t* const tokens = gpu_.up<int32_t>(counting(N, V));
  int32_t* const scratch = gpu_.room<int32_t>(device_token_order_ints(N));
  gpu_.ran(product_ops<T>().embedding_forward(y, table, tokens, N, C, gpu_.stream()));
  gpu_.ran(product_ops<T>().embedding_backward(dtable, dy, tokens, N, V, C, scratch, gpu_.stream()));
  expect("embedding_forward_kernel<uint4>", n, 2 * n * kSize<T> + 4 * N, "row 1, y 1");
  expect(named<T>("embedding_backward", "4, "), n, n * kSize<T> + 2 * V * C * 4, "dy 1, dtable 2 a kind of token");
}

template <class T>
void Workloads::buffers() {
  const int64_t N = 8, V = 8192, n = N * V;
  float *const logits = up<float>(n), *const loss = gpu_.room<float>(N);
  T *const a = up<T>(n), *const sum = gpu_.room<T>(n);
  const int32_t* const labels = gpu_.up<int32_t>(counting(N, V));
  gpu_.ran(product_ops<T>().cross_entropy(loss, sum, logits, labels, N, V, 1.0f, gpu_.stream()));
  gpu_.ran(product_ops<T>().add(sum, a, a, n, gpu_.stream()));
  gpu_.ran(product_ops<T>().from_f32(sum, n, logits, n, 1, n, gpu_.stream()));
  expect(named<T>("cross_entropy", "4, "), n, (8 + kSize<T>)*n, "logits 2, dlogits 1");
  expect(named<T>("add", kLanes<T>), n, 3 * n * kSize<T>, "a 1, b 1, sum 1");
  const std::string to = sizeof(T) == 4 ? "float, " : "Bf16, ";
  expect(named<float>("convert", "4, " + to), n, (4 + kSize<T>)*n, "x 1, y 1");
}

void Workloads::updates() {
  const int64_t n = 4 * kDeviceFloatsPerSum;
  float *const w = up<float>(n), *const m = up<float>(n), *const v = up<float>(n), *const g = up<float>(n);
  Bf16* const weight = gpu_.room<Bf16>(n);
  double *const sum = gpu_.room<double>(1), *const scratch = gpu_.room<double>(4);
  const AdamwStep step = {};
  gpu_.ran(product().sum_of_squares(sum, g, n, scratch, gpu_.stream()));
  gpu_.ran(product().adamw(w, weight, m, v, g, n, &step, gpu_.stream()));
  expect("squares_kernel<4>", n, 4 * n, "x 1");
  expect("adamw_kernel<4>", n, (4 * 7 + 2) * n, "gradient 1, master 2, m 2, v 2, weight 1");
}

}  // namespace

double KernelTraffic::instructions_per_element() const {
  return static_cast<double>(statistics.total.runs * kWarp) / static_cast<double>(elements);
}

std::vector<Statistics::Line> KernelTraffic::main_accesses() const {
  std::vector<Statistics::Line> lines;
  for (const Statistics::Line& line : statistics.lines)
    if (line.counter.sectors * 50 >= statistics.total.sectors) lines.push_back(line);
  return lines;
}

std::vector<KernelTraffic> kernel_traffic() {
  SimulationOptions options;
  options.detect_races = false;
  Simulation simulation(options);
  std::vector<KernelTraffic> all;
  simulation.run(1, [&](int) {
    Gpu gpu;
    Workloads workloads(gpu);
    workloads.layers<float>();
    workloads.layers<Bf16>();
    workloads.buffers<float>();
    workloads.buffers<Bf16>();
    workloads.updates();
    gpu.ran(product().finish(gpu.stream()));
    all = workloads.take();
  });
  for (KernelTraffic& one : all) {
    const auto found = simulation.statistics().find(one.name);
    if (found == simulation.statistics().end()) throw std::logic_error("no kernel ran that is called " + one.name);
    one.statistics = found->second;
  }
  return all;
}

std::vector<KernelResources> kernel_resources() {
  std::vector<KernelResources> all;
  for (const auto& [stub, kernel] : KernelRegistry::instance().kernels()) {
    KernelResources made;
    made.name = readable_name(kernel.name);
    for (const auto& [name, function] : kernel.code->module()->functions)
      if (name == kernel.name) made.threads = static_cast<int>(function.max_threads);
    const CompiledKernel *const a100 = kernel.code->compiled(80, kernel.name), *const h100 = kernel.code->compiled(
                                                                                   90, kernel.name);
    if (a100 == nullptr || h100 == nullptr) throw std::logic_error("not compiled for sm_80 and sm_90a: " + made.name);
    made.a100 = *a100;
    made.h100 = *h100;
    for (size_t i = 0; i < kModels.size(); ++i) {
      const CompiledKernel& compiled = kModels[i] == DeviceModel::kA100 ? made.a100 : made.h100;
      const int blocks =
          resident_blocks(kModels[i], made.threads, static_cast<int>(compiled.registers), compiled.shared_bytes, 0);
      made.warps[i] = blocks * made.threads / kWarp;
    }
    all.push_back(made);
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return all;
}

}  // namespace annulus::cudasim
