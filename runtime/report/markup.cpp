#include "runtime/report/markup.h"

#include <fmt/format.h>

#include <cmath>

#include "runtime/text.h"

namespace annulus {

std::string escaped(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      case '\'':
        safe += "&#39;";
        break;
      default:
        safe += is_control(c) && c != '\n' ? ' ' : c;
    }
  }
  return safe;
}

std::string coordinate(double value) {
  const double rounded = std::round(10.0 * value) / 10.0;
  return fmt::format("{:g}", rounded == 0.0 ? 0.0 : rounded);  // no -0
}

std::string svg_begin(double width, double height, const std::string& label) {
  return fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n", coordinate(width),
                     coordinate(height), escaped(label));
}

std::string svg_text(double x, double y, const char* anchor, const std::string& text, const char* css_class) {
  const std::string style = *css_class ? fmt::format(" class=\"{}\"", css_class) : "";
  return fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"{}\"{}>{}</text>\n", coordinate(x), coordinate(y), anchor,
                     style, escaped(text));
}

std::string svg_rect(double x, double y, double width, double height, const std::string& css_class,
                     const std::string& hover) {
  const std::string begin = fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" class=\"{}\"",
                                        coordinate(x), coordinate(y), coordinate(width), coordinate(height), css_class);
  return hover.empty() ? begin + "/>\n" : fmt::format("{}><title>{}</title></rect>\n", begin, escaped(hover));
}

std::string svg_line(double x0, double y0, double x1, double y1, const char* css_class) {
  return fmt::format("<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" class=\"{}\"/>\n", coordinate(x0), coordinate(y0),
                     coordinate(x1), coordinate(y1), css_class);
}

}  // namespace annulus
