# Flags of every target. Never -ffast-math or -Ofast: they fold the rounding trick in exp2 away and make it wrong, and
# they let the compiler reorder sums whose order is promised.

if(CMAKE_CXX_FLAGS MATCHES "-Ofast|-ffast-math|-funsafe-math")
  message(FATAL_ERROR "annulus must not be built with fast-math: it makes exp2 wrong by 40 % without a message")
endif()

add_library(annulus_flags INTERFACE)
target_compile_features(annulus_flags INTERFACE cxx_std_20)
target_include_directories(annulus_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(annulus_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX,C>:-Wall -Wextra -Wshadow -ffp-contract=off>)  # of CUDA sources: Cuda.cmake
set(CMAKE_CXX_EXTENSIONS OFF)

