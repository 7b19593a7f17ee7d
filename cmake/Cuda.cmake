# The CUDA backend, as far as this machine can build it: sets ANNULUS_HAS_CUDA, and turns the CUDA language on.
#
# ANNULUS_CUDA=AUTO builds it where the toolkit is; ON says what is missing and stops; OFF never looks. A driver or a GPU is not
# needed to build.

set(ANNULUS_CUDA AUTO CACHE STRING "The CUDA backend: AUTO (where the toolkit is), ON or OFF")
set_property(CACHE ANNULUS_CUDA PROPERTY STRINGS AUTO ON OFF)
if(NOT ANNULUS_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "ANNULUS_CUDA=${ANNULUS_CUDA} is none of AUTO, ON and OFF")
endif()

# Sets `missing` to what is not there, for people; empty: everything is.
function(annulus_find_cuda missing)
  find_package(CUDAToolkit 13.0 QUIET)
  if(NOT CUDAToolkit_FOUND)
    set(${missing} "the CUDA toolkit, 13.0 or newer (nvcc is on no PATH and not in /usr/local/cuda; CUDAToolkit_ROOT names its place)" PARENT_SCOPE)
    return()
  endif()
  if(NOT TARGET CUDA::cublas)
    set(${missing} "cuBLAS, beside the CUDA toolkit in ${CUDAToolkit_LIBRARY_DIR}" PARENT_SCOPE)
    return()
  endif()
  find_package(NCCL 2.18 QUIET)
  if(NOT NCCL_FOUND)
    set(${missing} "NCCL, 2.18 or newer (nccl.h and libnccl.so; NCCL_ROOT names their place)" PARENT_SCOPE)
    return()
  endif()
  if(NOT DEFINED ENV{CUDACXX})
    set(ENV{CUDACXX} ${CUDAToolkit_NVCC_EXECUTABLE})
  endif()
  if(NOT CMAKE_CUDA_HOST_COMPILER)  # nvcc would take any g++ that it finds
    set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER} CACHE FILEPATH "The compiler that nvcc hands host code to")
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    set(${missing} "an nvcc that works with ${CMAKE_CXX_COMPILER} ($ENV{CUDACXX} does not; see CMakeFiles/CMakeError.log)" PARENT_SCOPE)
    return()
  endif()
  set(${missing} "" PARENT_SCOPE)
endfunction()

set(ANNULUS_HAS_CUDA FALSE)
if(ANNULUS_CUDA STREQUAL OFF)
  return()
endif()
annulus_find_cuda(ANNULUS_CUDA_MISSING)
if(ANNULUS_CUDA_MISSING AND ANNULUS_CUDA STREQUAL ON)
  message(FATAL_ERROR "ANNULUS_CUDA=ON needs ${ANNULUS_CUDA_MISSING}; ANNULUS_CUDA=AUTO builds without the CUDA backend")
elseif(ANNULUS_CUDA_MISSING)
  message(STATUS "The CUDA backend is left out: it needs ${ANNULUS_CUDA_MISSING}")
  return()
endif()

# Code for the 8.x and the 9.0, and PTX from which the driver of a later GPU makes its own; tests execute that PTX.
set(CMAKE_CUDA_ARCHITECTURES 80 90a-real CACHE STRING "GPUs that the kernels are compiled for")
enable_language(CUDA)
# CMake 3.25 does not know how to ask nvcc 13 for C++20.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
list(APPEND CMAKE_CUDA_COMPILE_FEATURES cuda_std_20)
find_package(CUDAToolkit 13.0 QUIET)  # and its targets, which a function keeps to itself
find_package(NCCL 2.18 QUIET)
set(ANNULUS_HAS_CUDA TRUE)
message(STATUS "The CUDA backend: toolkit ${CUDAToolkit_VERSION}, NCCL ${NCCL_VERSION}")

# Flags of CUDA sources:
#   fmad=false                  as -ffp-contract=off for the CPU: a product is rounded before it is added to, unless we say fma
#   warn-on-..., -Werror        registers that spill, and arrays that end up in local memory, stop the build
#   compress-mode=none          so that the tests find the PTX in the objects
#   lineinfo                    source lines for their reports, and for profilers
set(ANNULUS_CUDA_STRICT -Werror=all-warnings)
set(ANNULUS_CUDA_FLAGS
  --fmad=false --compress-mode=none -lineinfo -Xptxas=--warn-on-spills,--warn-on-local-memory-usage
  -Xcompiler=-Wall,-Wextra,-ffp-contract=off)
add_library(annulus_cuda_flags INTERFACE)
target_compile_options(annulus_cuda_flags INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:${ANNULUS_CUDA_FLAGS}>")

# Warnings are errors in the target's CUDA sources, but for those that the list excepts; how many bytes their kernels then
# have is for tests to see.
function(annulus_cuda_strict target list)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${list})
  file(STRINGS ${list} excepted REGEX "^[^#]")
  foreach(line IN LISTS excepted)
    if(NOT line MATCHES "^([a-z0-9_]+\\.cu) [a-z0-9_]+ ([0-9]+) [^ ].*$")
      message(FATAL_ERROR "${list}: '${line}' should be a source, a kernel, a number of bytes and a reason")
    endif()
    list(APPEND excepted_sources ${CMAKE_MATCH_1})
  endforeach()
  get_target_property(sources ${target} SOURCES)
  foreach(source IN LISTS sources)
    get_filename_component(name ${source} NAME)
    if(name MATCHES "\\.cu$" AND NOT name IN_LIST excepted_sources)
      set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS ${ANNULUS_CUDA_STRICT})
    endif()
  endforeach()
endfunction()
