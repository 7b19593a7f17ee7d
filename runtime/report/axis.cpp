#include "runtime/report/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace annulus {
namespace {

// The smallest of 1, 2, 5 times a power of ten that is not below `value`.
double round_up(double value) {
  const double power = std::pow(10.0, std::floor(std::log10(value)));
  for (const double factor : {1.0, 2.0, 5.0, 10.0})
    if (value <= factor * power * (1 + 1e-9)) return factor * power;
  return 10.0 * power;
}

int digits_behind_point(double step) {
  return std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 12);
}

}  // namespace

double Axis::place_of(double value) const {
  const double share = logarithmic ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
  return from + std::clamp(share, 0.0, 1.0) * (to - from);
}

std::vector<Tick> linear_ticks(double low, double high, int most) {
  double step = round_up((high - low) / most);
  const auto first = [&] { return std::ceil(low / step - 1e-9); };
  const auto last = [&] { return std::floor(high / step + 1e-9); };
  while (last() - first() >= most) step = round_up(1.5 * step);
  const double largest = std::max(std::abs(first() * step), std::abs(last() * step));
  std::vector<Tick> ticks;
  for (double i = first(); i <= last(); ++i) ticks.push_back({i * step, tick_label(i * step, step, largest)});
  return ticks;
}

std::vector<Tick> log_ticks(double low, double high, int most) {
  const int first = static_cast<int>(std::floor(std::log10(low))), last = static_cast<int>(std::ceil(std::log10(high)));
  const auto choose = [&](const std::vector<double>& factors, int every) {
    std::vector<Tick> ticks;
    for (int power = first; power <= last; power += every)
      for (const double factor : factors) {
        const double value = factor * std::pow(10.0, power);
        if (low * (1 - 1e-9) <= value && value <= high * (1 + 1e-9))
          ticks.push_back({value, tick_label(value, value, value)});
      }
    return ticks;
  };
  std::vector<Tick> ticks = choose({1, 2, 5}, 1);
  for (int every = 1; static_cast<int>(ticks.size()) > most; ++every) ticks = choose({1}, every);
  return ticks.size() >= 2 ? ticks : linear_ticks(low, high, most);
}

std::string tick_label(double value, double step, double largest) {
  if (value == 0.0) return "0";
  if (largest >= 1e15 || largest < 1e-3) return fmt::format("{:.3g}", value);
  const auto [unit, name] = largest >= 1e12  ? std::pair{1e12, "T"}
                            : largest >= 1e9 ? std::pair{1e9, "G"}
                            : largest >= 1e6 ? std::pair{1e6, "M"}
                            : largest >= 1e4 ? std::pair{1e3, "k"}
                                             : std::pair{1.0, ""};
  return fmt::format("{:.{}f}{}", value / unit, digits_behind_point(std::min(1.0, step / unit)), name);
}

std::string short_number(double value) {
  if (!std::isfinite(value)) return "not finite";
  const double size = std::abs(value);
  if (size >= 1000.0 && size < 1e12) return grouped(std::llround(value));
  return size >= 1.0 ? fmt::format("{:.4g}", value) : fmt::format("{:.3g}", value);
}

std::string grouped(int64_t value) {
  std::string digits = std::to_string(value);
  const size_t sign = value < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > sign + 3;) digits.insert(at -= 3, 1, ',');
  return digits;
}

}  // namespace annulus
