#pragma once
// Text and shapes as HTML and SVG.
#include <string>
#include <string_view>

namespace annulus {

/// Text that means itself, in an element or a quoted attribute. `text` is UTF-8; control characters become spaces.
std::string escaped(std::string_view text);

/// A coordinate: at most one digit behind the point.
std::string coordinate(double value);

/// <svg> of these units, which scales with its column. `label` is what it shows, for those who do not see it.
std::string svg_begin(double width, double height, const std::string& label);

/// `anchor`: start, middle or end.
std::string svg_text(double x, double y, const char* anchor, const std::string& text, const char* css_class = "");

/// With a text that appears under the pointer, where there is one.
std::string svg_rect(double x, double y, double width, double height, const std::string& css_class,
                     const std::string& hover = "");

std::string svg_line(double x0, double y0, double x1, double y1, const char* css_class);

}  // namespace annulus
