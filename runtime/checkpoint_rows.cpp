#include "runtime/checkpoint_rows.h"

#include <algorithm>
#include <istream>
#include <iterator>
#include <ostream>

namespace annulus {
namespace {

constexpr int64_t kMostElements = int64_t{1} << 48;  // no product of two dimensions below overflows

bool name_is_valid(const std::string& name) {
  if (name.size() < 2 || name.size() > 1000 || name.front() != '/' || name.back() == '/') return false;
  size_t dots = 0, letters = 0;  // of the component: "." and ".." mean something else in a path
  for (const char c : name.substr(1) + "/") {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    if (c == '/' && letters == 0) return false;
    if (c == '/')
      dots = letters = 0;
    else if (c == '.')
      ++dots;
    else if (plain)
      ++letters;
    else
      return false;
  }
  return true;
}

std::string interval(int64_t first, int64_t end) { return concat("rows [", first, ", ", end, ")"); }

}  // namespace

std::string text_of(const RowRange& range) {
  return concat(interval(range.first_row, range.end_row()), " of ", range.name);
}

std::string problem_of(const RowRange& range) {
  if (!name_is_valid(range.name)) return "a tensor's name is not of the form /model/embedding";
  const Shape& shape = range.shape;
  bool fits = shape.rank() == 1 || shape.rank() == 2;
  for (int i = 0; i < shape.rank(); ++i) fits = fits && shape[i] >= 1 && shape[i] <= kMostElements;
  if (!fits || shape[0] > kMostElements / range.row_elements())
    return concat(range.name, " has shape ", shape.text(), ", not that of a vector or matrix");
  if (range.rows < 1 || range.first_row < 0 || range.first_row > shape[0] || range.rows > shape[0] - range.first_row)
    return concat(range.rows, " rows from row ", range.first_row, " on do not lie in ", range.name, " of shape ",
                  shape.text());
  return {};
}

void put(std::ostream& text, const RowRange& range) {
  text << range.name << ' ' << range.first_row << ' ' << range.rows << ' ' << static_cast<int>(range.dtype) << ' '
       << range.shape.rank();
  for (int i = 0; i < range.shape.rank(); ++i) text << ' ' << range.shape[i];
  text << '\n';
}

bool take(std::istream& text, RowRange& range) {
  int dtype = 0, rank = 0;
  if (!(text >> range.name)) return false;
  text >> range.first_row >> range.rows >> dtype >> rank;
  range.dtype = static_cast<Dtype>(dtype);
  range.shape = {};
  for (int64_t i = 0, dim = 0; i < rank && text >> dim; ++i) range.shape.append(dim);
  invariant(!text.fail(), "ranks cannot read each other's row ranges");
  return true;
}

std::string RowCoverage::add(const RowRange& range, const std::string& where) {
  if (const std::string problem = problem_of(range); !problem.empty()) return concat(where, ": ", problem);
  Tensor& tensor = tensors_.try_emplace(range.name, Tensor{range.shape, range.dtype, {}}).first->second;
  if (!(tensor.shape == range.shape))
    return concat(range.name, " has shape ", range.shape.text(), " in ", where, " but ", tensor.shape.text(), " in ",
                  tensor.pieces.begin()->second.where);
  if (tensor.dtype != range.dtype)
    return concat(range.name, " is ", name_of(range.dtype), " in ", where, " but ", name_of(tensor.dtype), " in ",
                  tensor.pieces.begin()->second.where);
  const auto next = tensor.pieces.lower_bound(range.first_row);
  auto overlap = [&](int64_t first, const Piece& piece) -> std::string {
    const int64_t begin = std::max(first, range.first_row), end = std::min(first + piece.rows, range.end_row());
    return begin >= end
               ? ""
               : concat(interval(begin, end), " of ", range.name, " are in ", piece.where, " and again in ", where);
  };
  std::string problem;
  if (next != tensor.pieces.end()) problem = overlap(next->first, next->second);
  if (next != tensor.pieces.begin() && problem.empty())
    problem = overlap(std::prev(next)->first, std::prev(next)->second);
  if (problem.empty()) tensor.pieces.emplace_hint(next, range.first_row, Piece{range.rows, where});
  return problem;
}

std::string RowCoverage::missing(const RowRange& wanted) const {
  const auto found = tensors_.find(wanted.name);
  if (found == tensors_.end()) return concat("there is no tensor ", wanted.name);
  const Tensor& tensor = found->second;
  if (!(tensor.shape == wanted.shape))
    return concat(wanted.name, " has shape ", tensor.shape.text(), " there but is wanted with shape ",
                  wanted.shape.text());
  if (tensor.dtype != wanted.dtype)
    return concat(wanted.name, " is ", name_of(tensor.dtype), " there but is wanted as ", name_of(wanted.dtype));
  int64_t row = wanted.first_row;  // all before it are there
  auto piece = tensor.pieces.upper_bound(row);
  if (piece != tensor.pieces.begin()) --piece;
  for (; piece != tensor.pieces.end() && row < wanted.end_row() && piece->first <= row; ++piece)
    row = std::max(row, piece->first + piece->second.rows);
  if (row >= wanted.end_row()) return {};
  const int64_t next = piece == tensor.pieces.end() ? wanted.end_row() : std::min(piece->first, wanted.end_row());
  return concat(interval(row, next), " of ", wanted.name, " are not there");
}

}  // namespace annulus
