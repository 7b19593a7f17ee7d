# Every library we use, found with a message that names the Debian package.

function(annulus_require found what package)
  if(NOT ${found})
    message(FATAL_ERROR "annulus needs ${what}: apt-get install ${package} (launch/setup.sh installs everything)")
  endif()
endfunction()

find_package(Threads REQUIRED)

find_package(OpenMP QUIET COMPONENTS CXX)
annulus_require(OpenMP_CXX_FOUND "OpenMP (the thread pool)" "g++")

find_package(fmt QUIET CONFIG)
annulus_require(fmt_FOUND "fmt (text formatting)" "libfmt-dev")

find_package(MPI QUIET COMPONENTS C)
annulus_require(MPI_C_FOUND "Open MPI (ranks as processes)" "libopenmpi-dev openmpi-bin")

find_package(HDF5 QUIET COMPONENTS C)
annulus_require(HDF5_FOUND "HDF5 (checkpoints, tensors from files)" "libhdf5-dev")
find_path(XXHASH_INCLUDE_DIR xxhash.h)
find_library(XXHASH_LIBRARY xxhash)
annulus_require(XXHASH_INCLUDE_DIR "xxHash (digests of checkpoint files)" "libxxhash-dev")
annulus_require(XXHASH_LIBRARY "xxHash (digests of checkpoint files)" "libxxhash-dev")
add_library(xxhash::xxhash SHARED IMPORTED)
set_target_properties(xxhash::xxhash PROPERTIES IMPORTED_LOCATION ${XXHASH_LIBRARY}
                                                INTERFACE_INCLUDE_DIRECTORIES ${XXHASH_INCLUDE_DIR})

# Debian has no CMake config of it.
find_path(SENTENCEPIECE_INCLUDE_DIR sentencepiece_processor.h)
find_library(SENTENCEPIECE_LIBRARY sentencepiece)
find_library(SENTENCEPIECE_TRAIN_LIBRARY sentencepiece_train)
foreach(part INCLUDE_DIR LIBRARY TRAIN_LIBRARY)
  annulus_require(SENTENCEPIECE_${part} "SentencePiece (tokenizers)" "libsentencepiece-dev")
endforeach()
add_library(sentencepiece::sentencepiece SHARED IMPORTED)
set_target_properties(sentencepiece::sentencepiece PROPERTIES
  IMPORTED_LOCATION ${SENTENCEPIECE_TRAIN_LIBRARY}
  INTERFACE_INCLUDE_DIRECTORIES ${SENTENCEPIECE_INCLUDE_DIR}
  INTERFACE_LINK_LIBRARIES ${SENTENCEPIECE_LIBRARY})

find_package(tomlplusplus QUIET CONFIG)
annulus_require(tomlplusplus_FOUND "toml++ (config files)" "libtomlplusplus-dev")

find_package(nlohmann_json QUIET CONFIG)
annulus_require(nlohmann_json_FOUND "nlohmann JSON (metrics, benchmark rows)" "nlohmann-json3-dev")

find_package(CLI11 QUIET CONFIG)
annulus_require(CLI11_FOUND "CLI11 (the command line)" "libcli11-dev")
