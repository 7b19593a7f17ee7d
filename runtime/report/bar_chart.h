#pragma once
// Amounts side by side or one upon the other, as SVG.
#include <string>
#include <vector>

namespace annulus {

struct Part {
  std::string name, css_class;
};

/// A column per rank; of `values[rank][part]` the first part lies at the bottom..
struct ColumnChart {
  std::string title, y_name;
  std::vector<Part> parts;
  std::vector<std::vector<double>> values;
  std::vector<int> ranks;  // their numbers
};
std::string column_chart(const ColumnChart& chart);

/// A bar per row, from left to right, each with its name before it and its sum behind; amounts are bytes.
struct ByteBar {
  std::string name;
  std::vector<std::pair<Part, int64_t>> parts;
};
std::string byte_bars(const std::string& title, const std::vector<ByteBar>& bars);

}  // namespace annulus
