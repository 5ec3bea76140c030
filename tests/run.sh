#!/usr/bin/env bash
# Installs what is missing, builds, and runs the tests. Exit code 0: all passed, 1: something did not, 2: usage.
#
#   tests/run.sh               unit, integration and interop tests of the release build
#   tests/run.sh --unit-only   the unit tests alone
#   tests/run.sh --sanitize    unit and integration tests under ASan and UBSan, then those of them in which threads
#                              meet (tag [multi-worker]) under TSan
#   tests/run.sh --fuzz        each fuzzer over its checked-in corpus, then on its own for a bounded time
#
#   -R REGEX       only the tests whose name matches; names begin with "unit:", "integration:" or "interop:"
#   --seconds N    how long each fuzzer runs on its own (default 30)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Without these, ccache does not keep what was compiled with a precompiled header.
export CCACHE_SLOPPINESS=pch_defines,time_macros

usage() {
    sed -n '2,/^set/{s/^# \{0,1\}//p}' tests/run.sh
}

wrong_usage() {
    echo "tests/run.sh: $1" >&2
    usage >&2
    exit 2
}

step() {
    printf '\n== %s (%d:%02d)\n' "$1" $((SECONDS / 60)) $((SECONDS % 60))
}

# build PRESET [--target NAME] [-D...]: options of the two halves are told apart by their first letters.
build() {
    local preset=$1 configure=() targets=()
    shift
    while (($# > 0)); do
        case $1 in
        --target) targets+=("$1" "$2") && shift 2 ;;
        *) configure+=("$1") && shift ;;
        esac
    done
    step "build: $preset"
    cmake --preset "$preset" "${configure[@]}"
    NINJA_STATUS='[%f/%t %es] ' "${steady[@]}" \
        cmake --build "build/$preset" --parallel "$(deploy/jobs.sh)" "${targets[@]}"
}

# Ends with ctest's own summary. Nothing that matches is a failure: a renamed test must not pass by absence.
run_ctest() {
    local preset=$1
    shift
    step "tests: $preset"
    "${steady[@]}" \
        ctest --test-dir "build/$preset" --parallel "$(nproc)" --output-on-failure --no-tests=error "$@" || return 1
}

run_release() {
    deploy/packages.sh build unit interop
    build release -DSLUICE_TESTS=ON
    if [[ -e tests/interop/install.sh ]]; then
        step 'interop: clients from npm'
        tests/interop/install.sh
    fi
    run_ctest release "${filter[@]}"
}

run_unit() {
    deploy/packages.sh build unit
    build release -DSLUICE_TESTS=ON --target sluice_unit
    ((${#filter[@]} > 0)) || filter=(-R '^unit:')
    run_ctest release "${filter[@]}"
}

# The sanitizers of these compilers want addresses where older kernels put them, and fail at random under a kernel
# that randomises more. The build needs the same, because it runs the tests once to learn their names. Not every
# container allows it, and not every kernel needs it.
hold_addresses() {
    local prefix
    prefix=(setarch "$(uname -m)" --addr-no-randomize)
    if "${prefix[@]}" true 2>/dev/null; then
        steady=("${prefix[@]}")
    fi
}

run_sanitized() {
    deploy/packages.sh build unit
    hold_addresses
    export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
    export UBSAN_OPTIONS=print_stacktrace=1
    export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
    build asan --target sluice_unit --target sluice_integration

    # Tests wait more than they compute; the second build, of [multi-worker] tests alone, has what they leave.
    local failed=0 log=build/tsan.log second
    (renice -n 10 -p $BASHPID; build tsan --target sluice_unit --target sluice_integration) >"$log" 2>&1 &
    second=$!
    ((${#filter[@]} > 0)) || filter=(-R '^(unit|integration):')
    run_ctest asan "${filter[@]}" || failed=1
    step 'build: tsan, under way since the tests began'
    wait $second || { tail -60 "$log" && return 1; }
    run_ctest tsan -R '^(unit|integration):' || failed=1
    return $failed
}

# One fuzzer: whatever was found before must stay fixed, then look for more. Finds go to build/fuzz/found/.
fuzz_one() {
    local binary=$1 name=$2 corpus=tests/fuzz/corpus/$2 options
    if [[ ! -d $corpus ]]; then
        echo "fuzz_$name has no corpus: $corpus is missing"
        return 1
    fi
    mkdir -p "build/fuzz/grown/$name" build/fuzz/found
    options=(-timeout=10 -rss_limit_mb=2048 -artifact_prefix="build/fuzz/found/$name-" -print_final_stats=1)
    "${steady[@]}" "$binary" "${options[@]}" -runs=0 "$corpus" &&
        "${steady[@]}" "$binary" "${options[@]}" -max_total_time="$seconds" "build/fuzz/grown/$name" "$corpus"
}

run_fuzzers() {
    deploy/packages.sh build fuzz
    hold_addresses
    export ASAN_SYMBOLIZER_PATH=/usr/bin/llvm-symbolizer-16
    build fuzz --target fuzzers

    local binary name log total=0 failed=()
    for binary in build/fuzz/tests/fuzz_*; do
        [[ -f $binary && -x $binary ]] || continue
        name=${binary##*/fuzz_}
        log=build/fuzz/$name.log
        total=$((total + 1))
        step "fuzz: $name"
        if fuzz_one "$binary" "$name" >"$log" 2>&1; then
            grep -E 'stat::number_of_executed_units' "$log" | tail -1
        else
            failed+=("$name")
            tail -60 "$log"
        fi
    done

    step 'fuzz: summary'
    ((${#failed[@]} == 0)) || printf 'FAILED: %s\n' "${failed[@]}"
    echo "${#failed[@]} fuzzers failed out of $total"
    ((total > 0 && ${#failed[@]} == 0))
}

mode=release
seconds=30
filter=()
steady=()
while (($# > 0)); do
    case $1 in
    -h | --help) usage && exit ;;
    --unit-only) mode=unit ;;
    --sanitize) mode=sanitized ;;
    --fuzz) mode=fuzzers ;;
    -R)
        [[ -n ${2:-} ]] || wrong_usage '-R wants a regular expression'
        filter=(-R "$2")
        shift
        ;;
    --seconds)
        [[ ${2:-} =~ ^[1-9][0-9]{0,4}$ ]] || wrong_usage '--seconds wants a number from 1 to 99999'
        seconds=$2
        shift
        ;;
    *) wrong_usage "no such option: $1" ;;
    esac
    shift
done

"run_$mode"
