# add_instruction_sets(target files...): compiles the files once per instruction set, each into a namespace of its own
# (ANNULUS_ISA), and adds the objects to the target. Which one runs is decided at start (kernels/cpu/isa.cpp).

function(add_instruction_sets target)
  set(sets plain)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    list(APPEND sets avx2 avx512 avx512_bf16)
    target_compile_definitions(${target} PRIVATE ANNULUS_X86)
  endif()
  set(flags_plain "")
  set(flags_avx2 -mavx2 -mfma)
  set(flags_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512)
  set(flags_avx512_bf16 ${flags_avx512} -mavx512bf16)
  foreach(set ${sets})
    add_library(${target}_${set} OBJECT ${ARGN})
    target_link_libraries(${target}_${set} PRIVATE annulus_flags OpenMP::OpenMP_CXX)
    target_compile_definitions(${target}_${set} PRIVATE ANNULUS_ISA=${set})
    # GCC 12 calls the undefined upper halves in its own intrinsics uninitialised.
    # Always -O3: the kernels are what the program spends its time in, in tests too.
    target_compile_options(${target}_${set} PRIVATE -O3 -Wno-psabi -Wno-uninitialized $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized> ${flags_${set}})
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_${set}>)
  endforeach()
endfunction()
