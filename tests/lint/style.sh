#!/bin/sh
# The rules of style that a grep can check. One line per violation, status 1 if there is any.
#
#   style.sh [ROOT]       checks the tree
#   style.sh --self-test  breaks each rule once in a tree of its own
#
# Comments do not count where calls are looked for: the preprocessor takes them out.
set -eu

max_lines=700
errors=0

# Runs the rest of the arguments; what they print violates the rule in $1.
rule()
{
	text=$1
	shift
	found=$("$@") || true
	[ -n "$found" ] || return 0
	printf '%s\n' "$found" | sed "s|\$|: $text|"
	errors=$((errors + $(printf '%s\n' "$found" | wc -l)))
}

# The text files that are ours, names without spaces.
ours()
{
	find src include tests fuzz container systemd .ci CMakeLists.txt README.md -type f \
		\( -name '*.[ch]' -o -name '*.py' -o -name '*.sh' -o -name '*.cmake' -o -name '*.md' \
		-o -name CMakeLists.txt -o -name '*.service' -o -name Dockerfile -o -path .ci/run \) \
		! -path '*/node_modules/*' ! -path '*/corpus/*' ! -path '*/regress/*' 2>/dev/null | sort
}

# The files below $1... that are C.
c_files()
{
	find "$@" -name '*.[ch]' 2>/dev/null | sort
}

# The code of src/ and include/ without comments, as "file: line".
code()
{
	for file in $(c_files src include); do
		gcc -fpreprocessed -dD -E -P -w -x c "$file" | sed -e 's/^[[:space:]]*//' -e "s|^|$file: |"
	done
}

# The lines of it that match the extended expression $1, but for the file $2.
calls()
{
	printf '%s\n' "$code" | grep -E "$1" | grep -v "^${2:-no file}: "
}

# Names from the list $1 as an expression that finds a call.
any_of()
{
	# shellcheck disable=SC2086 # a list of words
	printf '[^A-Za-z0-9_>.](%s)[[:space:]]*\(' "$(printf '%s|' $1 | sed 's/|$//')"
}

unowned_marks()
{
	# shellcheck disable=SC2046
	grep -nE '\b(TO''DO|FIX''ME|X''XX|HA''CK)\b' $(ours) /dev/null | grep -vE '#[0-9]+' | cut -d: -f1,2
}

stray_whitespace()
{
	# shellcheck disable=SC2046
	grep -nP '[ \t\r]+$' $(ours) /dev/null | cut -d: -f1,2
	for file in $(ours); do
		[ ! -s "$file" ] || [ -z "$(tail -c 1 "$file")" ] || echo "$file"
	done
}

long_files()
{
	for file in $(c_files src include); do
		lines=$(wc -l <"$file")
		[ "$lines" -le "$max_lines" ] || echo "$file: $lines lines"
	done
}

unexplained_files()
{
	for file in $(c_files src include fuzz tests/unit); do
		[ ! -s "$file" ] || [ "$(head -c 2 "$file")" = '/*' ] || echo "$file"
	done
}

check_tree()
{
	cd "$1"
	code=$(code)
	rule 'a mark without an issue number' unowned_marks
	rule 'white space at the end, or no newline there' stray_whitespace
	rule "more than $max_lines lines: two modules" long_files
	rule 'does not begin with a paragraph on its idea' unexplained_files
	rule 'feature macros come from CMake' \
		calls ': #[[:space:]]*define[[:space:]]+_(GNU|POSIX_C|DEFAULT|XOPEN)_SOURCE'
	rule 'resolves names through the image, inside the daemon' calls "$(any_of 'getpwnam getpwuid
		getpwnam_r getpwuid_r getpwent getgrnam getgrgid getgrnam_r getgrgid_r getgrent getgrouplist
		initgroups getlogin getaddrinfo gethostbyname getnameinfo getservbyname iconv_open setlocale
		dlopen wordexp')"
	rule 'has no bound, or hides errors' calls "$(any_of 'strcpy strcat sprintf vsprintf gets strtok
		atoi atol atoll atof sscanf alloca tmpnam mktemp')"
	rule 'stops the loop, or runs a shell behind our back' calls "$(any_of 'sleep usleep nanosleep
		system popen')"
	rule 'only main.c ends the process' calls "$(any_of 'exit quick_exit')" src/main.c
	printf 'style: %s violations\n' "$errors"
	[ "$errors" -eq 0 ]
}

# --- self-test ---

# $1 what, $2 the file, $3 its text, $4 an expression for the line that must come out.
breaks()
{
	mkdir -p "$work/tree/src/core" "$work/tree/include/boxd"
	printf '/* Nothing wrong: call exit(1) or strcpy() nowhere. */\nvoid proc_exit(int a);\n' \
		>"$work/tree/src/core/good.c"
	printf '%b' "$3" >"$work/tree/$2"
	status=0
	sh "$self" "$work/tree" >"$work/out" || status=$?
	if [ "$status" -eq 1 ] && grep -q "$4" "$work/out" && grep -q '^style: 1 violations' "$work/out"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED  $1:"
		cat "$work/out"
	fi
	rm -rf "$work/tree"
}

self_test()
{
	self=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")
	work=$(mktemp -d ./style.XXXXXX)
	trap 'rm -rf "$work"' EXIT
	passed=0
	failed=0
	top='/* Idea. */\n'
	breaks 'a mark' src/core/x.c "$top/* TO""DO: later */\n" 'src/core/x.c:2: a mark'
	breaks 'white space' src/core/x.c "${top}int a; \n" 'x.c:2: white space'
	breaks 'no newline' src/core/x.c "${top}int a;" 'x.c: white space'
	breaks 'a long file' src/core/x.c "$top$(printf '%0700d' 0 | sed 's/0/\\n/g')" '701 lines'
	breaks 'no paragraph' src/core/x.c 'int a;\n' 'x.c: does not begin'
	breaks 'a feature macro' src/core/x.c "$top#define _GNU_SOURCE 1\n" 'feature macros'
	breaks 'a name lookup' src/core/x.c "${top}void *f(void) { return getpwnam(\"a\"); }\n" 'through the image'
	breaks 'an unbounded copy' include/boxd/x.h "${top}static void f(char *a) { strcpy (a, a); }\n" 'no bound'
	breaks 'a nap' src/core/x.c "${top}static void f(void) { usleep(1); }\n" 'stops the loop'
	breaks 'an exit' src/core/x.c "${top}static void f(void) {\n\texit(1);\n}\n" 'x.c: exit(1);: only main.c'
	printf 'style self-test: %s passed, %s failed\n' "$passed" "$failed"
	[ "$failed" -eq 0 ]
}

case ${1:-} in
--self-test) self_test ;;
?*) check_tree "$1" ;;
*) check_tree "$(dirname "$0")/../.." ;;
esac
