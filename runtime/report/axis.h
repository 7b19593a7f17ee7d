#pragma once
// From numbers to places on a picture, with round numbers at the ticks.
#include <string>
#include <vector>

namespace annulus {

struct Tick {
  double value;
  std::string label;
};

/// [low, high] is laid over [from, to] of the picture.
struct Axis {
  double low = 0.0, high = 1.0;
  bool logarithmic = false;
  double from = 0.0, to = 1.0;

  double place_of(double value) const;
};

/// At most `most` multiples of 1, 2 or 5 times a power of ten in [low, high]: as many as fit. `low` < `high`.
std::vector<Tick> linear_ticks(double low, double high, int most);

/// At most `most` of the values 1, 2, 5 times powers of ten in [low, high], or powers of ten, or each so-manieth of
/// them. 0 < `low` < `high`.
std::vector<Tick> log_ticks(double low, double high, int most);

/// "1500", "0.003", "2e-06", "0.5M": with as many digits as tell multiples of `step` apart, in a unit that fits the
/// `largest` of them.
std::string tick_label(double value, double step, double largest);

/// "12.3", "0.00123", "1.23e-07": three or four digits.
std::string short_number(double value);

/// "1,234,567"
std::string grouped(int64_t value);

}  // namespace annulus
