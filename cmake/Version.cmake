# What this build is, for `annulus --version` and checkpoints: the commit is asked at every build, and the file that holds it
# is written only when it has changed. Included by CMakeLists.txt it makes the target; run as a script it writes the file.

if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(ANNULUS_VERSION_SOURCE ${PROJECT_BINARY_DIR}/generated/version.cpp)
  add_custom_target(annulus_version
    COMMAND ${CMAKE_COMMAND} -DSOURCE_DIR=${PROJECT_SOURCE_DIR} -DVERSION=${PROJECT_VERSION}
            -DFILE=${ANNULUS_VERSION_SOURCE} -P ${CMAKE_CURRENT_LIST_FILE}
    BYPRODUCTS ${ANNULUS_VERSION_SOURCE}
    COMMENT "Reading the commit")
  return()
endif()

execute_process(COMMAND git describe --always --dirty --abbrev=10 WORKING_DIRECTORY ${SOURCE_DIR}
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT commit)
  set(commit "no commit")
endif()
set(text "#include \"runtime/version.h\"\n\nnamespace annulus {\n\n")
string(APPEND text "std::string version_text() { return \"${VERSION} (${commit})\"; }\n\n}  // namespace annulus\n")
set(old "")
if(EXISTS ${FILE})
  file(READ ${FILE} old)
endif()
if(NOT old STREQUAL text)
  file(WRITE ${FILE} "${text}")
endif()
