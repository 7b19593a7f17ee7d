#pragma once

#include <vector>

#include "tests/cudasim/ptx/module.h"
#include "tests/cudasim/ptx/token_reader.h"

namespace annulus::cudasim {

/// True for .global, .const, .shared, .local and .param.
bool names_space(std::string_view directive);

/// "[.extern] .global .align 4 .b8 name[12] = {1, 2}, other;" from the space's directive past the semicolon.
std::vector<Variable> read_variables(TokenReader& in);

/// "(.param .b64 a, .param .align 4 .b8 b[8])" with its parentheses.
std::vector<Variable> read_parameters(TokenReader& in);

}  // namespace annulus::cudasim
