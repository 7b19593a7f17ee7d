#pragma once
// Curves over an axis, as SVG.
#include <string>
#include <vector>

#include "runtime/report/binned_series.h"

namespace annulus {

struct Point {
  double x, low, y, high;  // what lies between low and high is drawn as a band; NaN in y: a gap
};

struct Line {
  std::string name;
  std::string css_class;  // "s1" to "s3", "faint"
  std::vector<Point> points;
};

std::vector<Point> points_of(const BinnedSeries& series, double factor = 1.0);

enum class Scale { kLinear, kFromZero, kLogWhereItHelps };

struct LineChart {
  std::string title, x_name, y_name;  // y_name: with its unit
  std::vector<Line> lines;
  Scale scale = Scale::kLinear;
};

/// A figure with its caption and the names of its lines, but of faint ones. Lines that have no point are left out;
/// where none has one, the figure says so.
std::string line_chart(const LineChart& chart);

/// Whether the values span so much that a logarithmic axis shows more: all positive, and the largest ten times the
/// least.
bool wants_logarithm(const std::vector<Line>& lines);

}  // namespace annulus
