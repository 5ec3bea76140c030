# Registers each test of a Catch2 (v2) binary with CTest, whatever characters its name holds. Catch2's own script cuts
# names at semicolons; both halves then match nothing, and running nothing counts as passed.
#
#   cmake -DBINARY=FILE -DPREFIX=unit: -DSPEC=[tag] -DTIMEOUT=SECONDS -DOUTPUT=FILE -P discover.cmake
#
# SPEC narrows what is registered, and may be empty. OUTPUT is included by CTest. Runs after each link of the binary.

# The exit code is the number of tests; a word instead of a number means that the binary did not get so far.
execute_process(COMMAND ${BINARY} ${SPEC} --list-test-names-only OUTPUT_VARIABLE names RESULT_VARIABLE result)
if(NOT result MATCHES "^[0-9]+$" OR names STREQUAL "")
  message(FATAL_ERROR "${BINARY} lists no tests (${result})")
endif()

# What CMake's lists would take as syntax stands aside while the lines become a list.
string(ASCII 1 open)
string(ASCII 2 close)
string(ASCII 3 semicolon)
string(REPLACE "[" "${open}" names "${names}")
string(REPLACE "]" "${close}" names "${names}")
string(REPLACE ";" "${semicolon}" names "${names}")
string(REGEX REPLACE "\n+$" "" names "${names}")
string(REPLACE "\n" ";" names "${names}")

set(script "")
foreach(name IN LISTS names)
  string(REPLACE "${open}" "[" name "${name}")
  string(REPLACE "${close}" "]" name "${name}")
  string(REPLACE "${semicolon}" ";" name "${name}")
  # What Catch2 would take as syntax in a name.
  string(REGEX REPLACE "([][,\"\\\\])" "\\\\\\1" pattern "${name}")
  string(APPEND script
    "add_test([==[${PREFIX}${name}]==] [==[${BINARY}]==] [==[${pattern}]==] --warn NoTests)\n"
    "set_tests_properties([==[${PREFIX}${name}]==] PROPERTIES TIMEOUT ${TIMEOUT})\n")
endforeach()
file(WRITE ${OUTPUT} "${script}")
