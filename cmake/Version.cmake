# The commit, for `annulus --version` and checkpoints: asked at every build, written only when it has changed.
# Included by CMakeLists.txt it makes the target; run as a script it writes the header.

if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(ANNULUS_GENERATED_DIR ${PROJECT_BINARY_DIR}/generated)
  add_custom_target(annulus_version
    COMMAND ${CMAKE_COMMAND} -DSOURCE_DIR=${PROJECT_SOURCE_DIR} -DVERSION=${PROJECT_VERSION}
            -DHEADER=${ANNULUS_GENERATED_DIR}/annulus_version.h -P ${CMAKE_CURRENT_LIST_FILE}
    BYPRODUCTS ${ANNULUS_GENERATED_DIR}/annulus_version.h
    COMMENT "Reading the commit")
  return()
endif()

execute_process(COMMAND git describe --always --dirty --abbrev=10 WORKING_DIRECTORY ${SOURCE_DIR}
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT commit)
  set(commit "no commit")
endif()
set(text "#define ANNULUS_VERSION \"${VERSION}\"\n#define ANNULUS_COMMIT \"${commit}\"\n")
set(old "")
if(EXISTS ${HEADER})
  file(READ ${HEADER} old)
endif()
if(NOT old STREQUAL text)
  file(WRITE ${HEADER} "${text}")
endif()
