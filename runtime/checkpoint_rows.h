#pragma once
// Row ranges of logical tensors: their names, how ranks tell each other about them, and which rows are there.
#include <cstdint>
#include <iosfwd>
#include <map>
#include <string>

#include "runtime/core/dtype.h"
#include "runtime/core/shape.h"

namespace annulus {

/// Rows [first_row, first_row + rows) of a tensor of `shape`, f32 or bf16.
struct RowRange {
  std::string name;
  Shape shape;
  int64_t first_row = 0, rows = 0;
  Dtype dtype = Dtype::kF32;

  int64_t end_row() const { return first_row + rows; }
  int64_t row_elements() const { return shape.rank() == 2 ? shape[1] : 1; }
  int64_t row_bytes() const { return row_elements() * size_of(dtype); }
  int64_t bytes() const { return rows * row_bytes(); }
};

/// "rows [4, 9) of /model/embedding", for messages.
std::string text_of(const RowRange& range);

/// What is wrong with the range by itself, or nothing: a name is "/a/b" of letters, digits, '_', '-' and '.', a shape
/// has one or two dimensions of at least 1 and fits into memory, and there are one or more rows, all inside.
std::string problem_of(const RowRange& range);

/// A line of text and back; false at the end. Only for what ranks of one program tell each other.
void put(std::ostream& text, const RowRange& range);
bool take(std::istream& text, RowRange& range);

/// Which rows of which tensors are there, each once, and where.
class RowCoverage {
 public:
  /// Returns what is wrong, or nothing: the range by itself, another shape or dtype than before, or rows that are there
  /// already.
  std::string add(const RowRange& range, const std::string& where);

  /// Returns which of these rows are not there, or nothing.
  std::string missing(const RowRange& wanted) const;

  struct Piece {
    int64_t rows;
    std::string where;
  };
  struct Tensor {
    Shape shape;
    Dtype dtype;
    std::map<int64_t, Piece> pieces;  // by first row
  };
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }

 private:
  std::map<std::string, Tensor> tensors_;
};

}  // namespace annulus
