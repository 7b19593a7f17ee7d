#include "kernels/cpu/gemm.h"

#include <array>
#include <dnnl.hpp>
#include <map>
#include <mutex>

#include "kernels/cpu/isa.h"

namespace annulus::cpu {
namespace {

// Sizes of op(a) op(b), row strides of the three matrices, flags, and dtypes: all that a primitive depends on.
using Key = std::array<int64_t, 11>;

struct Product {
  dnnl::matmul::primitive_desc description;
  dnnl::matmul primitive;
};

dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::memory::desc matrix(int64_t rows, int64_t columns, int64_t row_stride, bool transposed, bool bf16) {
  const dnnl::memory::dims strides = transposed ? dnnl::memory::dims{1, row_stride} : dnnl::memory::dims{row_stride, 1};
  return {{rows, columns}, bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32, strides};
}

Product make_product(const Key& key) {
  const auto [m, n, k, a_stride, b_stride, c_stride, transpose_a, transpose_b, accumulate, bf16, bf16_c] = key;
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (accumulate) {
    dnnl::post_ops add_to_c;
    add_to_c.append_sum(1.0f);
    attributes.set_post_ops(add_to_c);
  }
  const dnnl::matmul::desc description(matrix(m, k, a_stride, transpose_a, bf16),
                                       matrix(k, n, b_stride, transpose_b, bf16),
                                       matrix(m, n, c_stride, false, bf16_c));
  const dnnl::matmul::primitive_desc chosen(description, attributes, engine());
  return {chosen, dnnl::matmul(chosen)};
}

// Ranks may be threads of one process: the map is shared, and references into it stay valid.
const Product& product_for(const Key& key) {
  static std::mutex mutex;
  static std::map<Key, Product> products;
  const std::lock_guard lock(mutex);
  const auto found = products.find(key);
  return found != products.end() ? found->second : products.emplace(key, make_product(key)).first->second;
}

}  // namespace

void gemm(TensorView c, ConstTensorView a, bool transpose_a, ConstTensorView b, bool transpose_b, bool accumulate,
          Arena& scratch) {
  const bool bf16 = a.dtype() == Dtype::kBf16;
  if (bf16 && !isa_kernels().has_bf16_products)
    return gemm_widened(c, a, transpose_a, b, transpose_b, accumulate, scratch);
  const Key key = {
      c.dim(0),   c.dim(1), a.dim(!transpose_a),      a.stride(0), b.stride(0), c.stride(0), transpose_a, transpose_b,
      accumulate, bf16,     c.dtype() == Dtype::kBf16};
  const Product& product = product_for(key);
  const Arena::Scope scope(scratch);
  const auto scratch_bytes = static_cast<int64_t>(product.description.scratchpad_desc().get_size());
  const TensorView scratchpad = scratch.take({(scratch_bytes + 3) / 4});
  if (c.shape_only()) return;
  auto memory = [](const dnnl::memory::desc& description, const void* data) {
    return dnnl::memory(description, engine(), const_cast<void*>(data));
  };
  thread_local dnnl::stream stream(engine());
  product.primitive.execute(stream,
                            {{DNNL_ARG_SRC, memory(product.description.src_desc(), a.raw())},
                             {DNNL_ARG_WEIGHTS, memory(product.description.weights_desc(), b.raw())},
                             {DNNL_ARG_DST, memory(product.description.dst_desc(), c.raw())},
                             {DNNL_ARG_SCRATCHPAD, memory(product.description.scratchpad_desc(), scratchpad.raw())}});
  stream.wait();
}

void limit_gemm_isa(std::string_view name) {
  const auto limit = name == "plain"    ? dnnl::cpu_isa::sse41
                     : name == "avx2"   ? dnnl::cpu_isa::avx2
                     : name == "avx512" ? dnnl::cpu_isa::avx512_core
                                        : dnnl::cpu_isa::avx512_core_bf16;
  dnnl::set_max_cpu_isa(limit);  // refused after the first primitive: then that instruction set is in use already
}

std::string gemm_library_version() {
  const dnnl_version_t* version = dnnl_version();
  return concat(version->major, ".", version->minor, ".", version->patch);
}

}  // namespace annulus::cpu
