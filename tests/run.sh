#!/bin/sh
# Every test there is, on a fresh Debian 12: installs what is missing, builds all variants, and runs
# the checks from the cheapest to the dearest. A failed step does not stop the others.
#
#   run.sh           all steps
#   run.sh STEP...   these, in this order
#
#   format   clang-format has nothing to change
#   lint     layers, limits, routes, style
#   tidy     clang-tidy on src/
#   dev      gcc: unit tests, replay of the fuzz corpora
#   asan     clang with AddressSanitizer and UndefinedBehaviorSanitizer: the same
#   tsan     clang with ThreadSanitizer: what is called by more than one thread
#   http     black box: HTTP and kernel tests against the asan build
#   release  the optimised build, and the black box against that
#   clients  published SDKs against the asan build, a browser against the optimised one
#   static   the release binary on musl: no loader, no libraries, in an empty root; the black box again
set -eu

all='format lint tidy dev asan tsan http release clients static'
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
jobs=$(nproc)

usage()
{
	sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

# --- what steps are made of ---

# The C files of the folders given.
c_files()
{
	find "$@" -name node_modules -prune -o -name '*.[ch]' -print | sort
}

# Configures and builds preset $1; the rest goes to cmake --build.
build()
{
	preset=$1
	shift
	cmake --preset "$preset" >"build/$preset.log" 2>&1 || { cat "build/$preset.log"; return 1; }
	cmake --build --preset "$preset" -j "$jobs" "$@"
}

# The sanitizers of clang 14 want their shadow memory where a kernel with wide address space
# randomisation may put something else.
still()
{
	if [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 0)" -gt 28 ] &&
		setarch --addr-no-randomize true 2>/dev/null; then
		setarch --addr-no-randomize "$@"
	else
		"$@"
	fi
}

unit_tests()
{
	still ctest --preset "$@" -j "$jobs"
}

# Runs the black-box tests below the folders $3... against binary $1 of build folder $2. Debian's
# python is named with its path, because it is the one that sees Debian's pytest. What compares a
# parser by itself needs the tools of a test build, and has nothing to say of another binary.
black_box()
{
	bin=$1 dir=$2
	shift 2
	[ -x "$dir/tests/http1_check" ] || set -- --ignore=tests/http/test_h11_diff.py "$@"
	[ -x "$dir/tests/ws_echo" ] || set -- --ignore=tests/http/test_ws_rfc6455.py \
		--ignore=tests/http/test_limits_ws.py "$@"
	BOXD_BIN=$top/$bin BOXD_BUILD=$top/$dir PYTHONDONTWRITEBYTECODE=1 \
		still timeout --signal=INT 900 /usr/bin/python3 -m pytest -q -rs -p no:cacheprovider "$@"
}

# Runs the tests $2... of tests/clients against the build of preset $1.
clients()
{
	dir=$top/build/$1
	shift
	BOXD_BIN=$dir/boxd still timeout --signal=INT 600 sh tests/clients/run.sh "$dir" "$@"
}

# --- the steps ---

step_format()
{
	c_files src include tests fuzz | xargs clang-format --dry-run -Werror
}

# All of them, also when the first one fails.
step_lint()
{
	status=0
	for check in 'python3 tests/lint/layers.py' 'python3 tests/lint/limits_numbers.py' \
		'python3 tests/lint/routes.py' 'sh tests/lint/style.sh'; do
		(cd build && ${check%% *} "$top/${check#* }" --self-test) || status=1
		$check || status=1
	done
	return $status
}

step_tidy()
{
	cmake --preset clang-asan >build/clang-asan.log 2>&1 || { cat build/clang-asan.log; return 1; }
	find src -name '*.c' -print0 |
		xargs -0 -P "$jobs" -n 1 clang-tidy -p build/clang-asan --quiet 2>build/tidy.log ||
		{ grep -v ' warnings generated' build/tidy.log; return 1; }
}

step_dev()
{
	build dev
	unit_tests dev
}

step_asan()
{
	build clang-asan
	unit_tests clang-asan
}

step_tsan()
{
	build tsan
	unit_tests tsan -R '^unit/(work|log|outhub|proc|walk|grep_walk|writer|fs|confine|asuser)'
}

step_http()
{
	build clang-asan
	black_box build/clang-asan/boxd build/clang-asan tests/http tests/kernel
}

step_release()
{
	build release
	black_box build/release/boxd build/release tests/http tests/kernel
}

step_clients()
{
	build clang-asan --target boxd ws_echo
	build release --target boxd
	clients clang-asan sdk files sessions proxy ws
	clients release terminal
}

step_static()
{
	sh container/build-static.sh
	sh tests/smoke_static.sh build/static/boxd
	black_box build/static/boxd build/static tests/http
}

# --- the run ---

# shellcheck disable=SC2086 # a list of words
[ $# -gt 0 ] || set -- $all
for step; do
	case " $all " in
	*" $step "*) ;;
	*) usage ;;
	esac
done

mkdir -p build
modes='test'
for step; do
	case $step in
	static | clients) modes="$modes $step" ;;
	release) modes="$modes page" ;;
	esac
done
# shellcheck disable=SC2086 # a list of words
sh container/deps.sh $modes

passed=0
failed=0
summary=
for step; do
	printf '\n======== %s\n' "$step"
	begin=$(date +%s)
	# A subshell, and not as a condition: there set -e would be ignored.
	set +e
	(
		set -e
		"step_$step"
	)
	status=$?
	set -e
	if [ "$status" -eq 0 ]; then
		word=passed
		passed=$((passed + 1))
	else
		word=FAILED
		failed=$((failed + 1))
	fi
	line=$(printf '%-8s %-8s %4d s' "$word" "$step" $(($(date +%s) - begin)))
	summary="$summary$line
"
	printf '======== %s\n' "$line"
done

printf '\n%s' "$summary"
printf 'boxd: %d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
