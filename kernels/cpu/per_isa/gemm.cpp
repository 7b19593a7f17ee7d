// Matrix products c (+)= op(a) op(b). Some columns of b are packed into panels, which all rows of c use; a thread takes
// a group of rows of a, which then lies in its second-level cache, and multiplies it with panel after panel. Where the
// rows of c are too few to share packed panels, each thread packs one after the other for itself.
//
// An element of c is the sum of sums over kDepth words of k each, in the order of k, whatever the threads, the other
// sizes or the place of the element: so rows of c do not depend on which other rows are computed with them.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/per_isa/element.h"
#include "kernels/cpu/per_isa/kernels.h"
#include "kernels/cpu/per_isa/micro_kernel.h"

namespace annulus::cpu::ANNULUS_ISA {
namespace {

constexpr int kLanes = Simd::kLanes, kTileRows = Simd::kProductRows, kTileRegs = Simd::kProductRegs;
constexpr int64_t kPanel = kTileRegs * kLanes;      // columns of b
constexpr int64_t kStrip = 48;                      // rows of a that are packed together: whole tiles, whole registers
constexpr int64_t kMostRows = 4 * kStrip;           // of a group
constexpr int64_t kGroupWords = int64_t{1} << 17;   // of a group: half of a cache of 1 MiB, for panels need the rest
constexpr int64_t kPackedWords = int64_t{1} << 19;  // of b at a time, or
constexpr int64_t kFewestColumns = 8 * kPanel;      // so many columns, if these are more
constexpr int64_t kDepth = 1024;                    // words of k at a time
constexpr int64_t kWordsPerItem = 16;               // of b, when a thread packs along its rows
static_assert(kStrip % kTileRows == 0 && kStrip % kLanes == 0);

int64_t divided_up(int64_t n, int64_t by) { return (n + by - 1) / by; }
int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// How a product is cut.
struct Plan {
  int64_t words, block, depth;  // of k: all, those that panels are packed of at once, those summed at once
  int64_t rows;                 // of a group
  int64_t columns;              // that are under way together
  int64_t cut;                  // of them, to one item of work
  bool shares_panels;           // between groups
  bool packs_a;                 // else its words are taken where they lie
  bool keeps_sums;              // of f32, from one part of k to the next, for a c of bf16

  int64_t words_of_a() const { return packs_a ? rows * depth : 0; }
  int64_t words_of_sums() const { return keeps_sums ? rows * cut : 0; }
  int64_t words_of_panel() const { return shares_panels ? 0 : depth * kPanel; }
  int64_t words_of_thread() const { return words_of_a() + words_of_sums() + words_of_panel(); }
  int64_t words_of_b() const { return shares_panels ? block * columns : 0; }
};

// Rows of a that are a multiple of 2 KiB apart would meet in a few sets of the first-level cache: they are packed.
template <class T>
bool packs_a(const GemmCall<T>& call) {
  constexpr int64_t kBytes = sizeof(T);
  return call.transpose_a || kBytes * kPerWord<T> != sizeof(Word<T>) || call.a_row % kPerWord<T> != 0 ||
         call.K % kPerWord<T> != 0 || call.a_row * kBytes % 2048 == 0;
}

template <class T>
Plan plan_of(const GemmCall<T>& call, int threads) {
  Plan plan = {};
  plan.words = divided_up(call.K, kPerWord<T>);
  plan.depth = smaller(plan.words, kDepth);
  plan.rows = smaller(kMostRows, larger(kStrip, kGroupWords / plan.depth / kStrip * kStrip));
  plan.packs_a = packs_a(call);
  plan.block = call.rounds ? plan.words : plan.depth;  // a c of f32 holds the sums itself
  plan.keeps_sums = plan.block > plan.depth;
  const int64_t groups = divided_up(call.M, plan.rows), panels = divided_up(call.N, kPanel);
  plan.shares_panels = groups > 1;
  const int64_t fit = plan.shares_panels ? kPackedWords / plan.block : kPackedWords;
  plan.columns = smaller(larger(kFewestColumns, fit / kPanel * kPanel), panels * kPanel);
  // Few groups are cut by columns as well, so that every thread has work.
  const int64_t wanted = threads == 1 ? 1 : divided_up(8 * threads, groups);
  plan.cut = divided_up(plan.columns / kPanel, wanted) * kPanel;
  if (plan.keeps_sums || !plan.shares_panels) plan.cut = smaller(plan.cut, kFewestColumns);
  return plan;
}

// Packs columns of op(x), which begins at x and has K elements in each: word k of column j goes to
// dst[j / width * panel + k * width + j % width]. Columns from `columns` up to a multiple of `width`, which is one of
// kLanes, become zeros. `across`: a column lies in a row of memory, and is transposed.
template <class T>
void pack(Word<T>* dst, int64_t width, int64_t panel, const T* x, int64_t x_row, bool across, int64_t columns,
          int64_t K) {
  using Op = Operands<T>;
  const int64_t words = divided_up(K, kPerWord<T>);
  for (int64_t k = 0; !across && k < words; ++k) {
    const T* row = x + k * kPerWord<T> * x_row;
    const T* last = (k + 1) * kPerWord<T> <= K ? row + (kPerWord<T> - 1) * x_row : nullptr;
    Word<T>* to = dst + k * width;
    for (int64_t first = 0; first < columns; first += width, to += panel)
      for (int64_t j = first; j < first + width; j += kLanes)
        Op::store(to + j - first, Op::words_of_rows(row + j, last ? last + j : nullptr, columns - j));
  }
  for (int64_t first = 0; across && first < columns; first += width, dst += panel)
    for (int64_t j = first; j < first + width; j += kLanes)
      for (int64_t k = 0; k < words; k += kLanes) {
        const T* column = x + j * x_row + k * kPerWord<T>;
        Simd::Reg r[kLanes];
        for (int i = 0; i < kLanes; ++i)
          r[i] = j + i < columns ? Op::words_of_row(column + i * x_row, K - k * kPerWord<T>) : Simd::zero();
        Simd::transpose(r);
        for (int i = 0; i < kLanes && k + i < words; ++i) Op::store(dst + (k + i) * width + j - first, r[i]);
      }
}

// Columns of b, panel behind panel. Along rows, a thread takes a few rows of all panels, which lie in the same pages;
// across, all rows of one panel.
template <class T>
void pack_panels(Word<T>* dst, const T* b, int64_t b_row, bool across, int64_t columns, int64_t K) {
  const int64_t words = divided_up(K, kPerWord<T>), panel = words * kPanel;
  if (across)
    parallel_for(divided_up(columns, kPanel), [&](int64_t p, int) {
      const int64_t column = p * kPanel;
      pack(dst + p * panel, kPanel, panel, b + column * b_row, b_row, true, smaller(kPanel, columns - column), K);
    });
  else
    parallel_for(divided_up(words, kWordsPerItem), [&](int64_t item, int) {
      const int64_t first = item * kWordsPerItem, k = first * kPerWord<T>;
      pack(dst + first * kPanel, kPanel, panel, b + k * b_row, b_row, false, columns,
           smaller(kWordsPerItem * kPerWord<T>, K - k));
    });
}

// Rows of a as the kernel takes them: word k of row m is words[m * row + k * step].
template <class T>
struct RowsOfA {
  const Word<T>* words;
  int64_t row, step;
};

// Where a tile's sums go: to `out`, rounded, or to `sums`, in f32; on top of what `sums` has, if `add`.
struct Target {
  float* sums;
  int64_t sums_row;
  Bf16* out;
  int64_t out_row;
  bool add;
};

// Asks for the lines of a tile of c, which nothing else tells the cache to fetch.
template <class E>
[[gnu::always_inline]] inline void prefetch_tile(const E* c, int64_t c_row, int rows) {
  for (int m = 0; m < rows; ++m)
    for (int64_t n = 0; n < kPanel; n += 64 / static_cast<int64_t>(sizeof(E))) __builtin_prefetch(c + m * c_row + n, 1);
}

// kRows rows of up to `columns` columns of one panel.
template <class T, int kRows>
[[gnu::always_inline]] inline void multiply_tile(const Target& to, RowsOfA<T> a, const Word<T>* panel, int64_t words,
                                                 int64_t columns) {
  if (to.out) prefetch_tile(to.out, to.out_row, kRows);
  if (!to.out || to.add) prefetch_tile(to.sums, to.sums_row, kRows);
  tile_product<Operands<T>, kRows, kTileRegs>(
      a.words, a.row, a.step, panel, kPanel, words, [&](auto& sum) ANNULUS_ALWAYS {
#pragma GCC unroll 8
        for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 8
          for (int n = 0; n < kTileRegs; ++n) {
            const int64_t count = columns - n * kLanes;
            if (count <= 0) continue;
            float* sums = to.sums + m * to.sums_row + n * kLanes;
            const Simd::Reg total = to.add ? Simd::add(load_first(sums, count), sum[m][n]) : sum[m][n];
            if (to.out)
              store_first(to.out + m * to.out_row + n * kLanes, total, count);
            else
              store_first(sums, total, count);
          }
      });
}

// body(Rows<n>{}) for the largest n <= kMost that `rows` has.
template <int kMost, class Body>
[[gnu::always_inline]] inline void with_rows(int64_t rows, Body&& body) {
  if constexpr (kMost == 1)
    body(Rows<1>{});
  else if (rows >= kMost)
    body(Rows<kMost>{});
  else
    with_rows<kMost - 1>(rows, body);
}

// The rectangle of c of `rows` rows of a group and `columns` columns from (row, column) on. Of k, the
// words [first_word, end_word), for which `panels` are packed, if not null.
template <class T>
void multiply_group(const GemmCall<T>& call, const Plan& plan, int64_t row, int64_t rows, int64_t column,
                    int64_t columns, int64_t first_word, int64_t end_word, const Word<T>* panels, float* scratch) {
  auto* packed_a = reinterpret_cast<Word<T>*>(scratch);
  float* sums = scratch + plan.words_of_a();
  auto* own_panel = reinterpret_cast<Word<T>*>(sums + plan.words_of_sums());
  for (int64_t first = first_word; first < end_word; first += plan.depth) {
    const int64_t words = smaller(plan.depth, end_word - first), k = first * kPerWord<T>;
    const int64_t K = smaller(words * kPerWord<T>, call.K - k);
    const T* a = call.a + (call.transpose_a ? k * call.a_row + row : row * call.a_row + k);
    if (plan.packs_a) pack(packed_a, kStrip, words * kStrip, a, call.a_row, !call.transpose_a, rows, K);
    const auto rows_at = [&](int64_t m) {
      if (plan.packs_a) return RowsOfA<T>{packed_a + m / kStrip * kStrip * words + m % kStrip, 1, kStrip};
      return RowsOfA<T>{reinterpret_cast<const Word<T>*>(a + m * call.a_row), call.a_row / kPerWord<T>, 1};
    };
    const bool is_last = first + words == plan.words;
    for (int64_t n = 0; n < columns; n += kPanel) {
      const Word<T>* panel = own_panel;
      if (panels) {
        panel = panels + n * (end_word - first_word) + (first - first_word) * kPanel;
      } else {
        const T* b = call.b + (call.transpose_b ? (column + n) * call.b_row + k : k * call.b_row + column + n);
        pack(own_panel, kPanel, 0, b, call.b_row, call.transpose_b, smaller(kPanel, columns - n), K);
      }
      for (int64_t m = 0; m < rows; m += kTileRows)
        with_rows<kTileRows>(rows - m, [&](auto count) ANNULUS_ALWAYS {
          constexpr int kRows = decltype(count)::kCount;
          const int64_t at = (row + m) * call.c_row + column + n;
          Target to = {nullptr, call.c_row, nullptr, call.c_row, first > 0};
          if (!call.rounds)
            to = {call.c_f32 + at, call.c_row, nullptr, 0, first > 0 || call.accumulate};
          else {
            to.sums = sums + m * plan.cut + n;
            to.sums_row = plan.cut;
            if (is_last) to.out = call.c_bf16 + at;
          }
          multiply_tile<T, kRows>(to, rows_at(m), panel, words, columns - n);
        });
    }
  }
}

}  // namespace

template <class T>
int64_t gemm_scratch_words(const GemmCall<T>& call, int threads) {
  const Plan plan = plan_of(call, threads);
  return plan.words_of_b() + threads * plan.words_of_thread();
}

template <class T>
void gemm(const GemmCall<T>& call, int threads) {
  const Plan plan = plan_of(call, threads);
  auto* packed_b = reinterpret_cast<Word<T>*>(call.scratch);
  const int64_t groups = divided_up(call.M, plan.rows);
  for (int64_t column = 0; column < call.N; column += plan.columns) {
    const int64_t columns = smaller(plan.columns, call.N - column), cuts = divided_up(columns, plan.cut);
    for (int64_t first = 0; first < plan.words; first += plan.block) {
      const int64_t words = smaller(plan.block, plan.words - first), k = first * kPerWord<T>;
      if (plan.shares_panels)
        pack_panels(packed_b, call.b + (call.transpose_b ? column * call.b_row + k : k * call.b_row + column),
                    call.b_row, call.transpose_b, columns, smaller(words * kPerWord<T>, call.K - k));
      parallel_for(groups * cuts, [&](int64_t item, int thread) {
        const int64_t row = item / cuts * plan.rows, from = item % cuts * plan.cut;
        multiply_group<T>(call, plan, row, smaller(plan.rows, call.M - row), column + from,
                          smaller(plan.cut, columns - from), first, first + words,
                          plan.shares_panels ? packed_b + from * words : nullptr,
                          call.scratch + plan.words_of_b() + thread * plan.words_of_thread());
      });
    }
  }
}

template int64_t gemm_scratch_words(const GemmCall<float>&, int);
template int64_t gemm_scratch_words(const GemmCall<Bf16>&, int);
template void gemm(const GemmCall<float>&, int);
template void gemm(const GemmCall<Bf16>&, int);

}  // namespace annulus::cpu::ANNULUS_ISA
