#!/bin/sh
# Runs a static binary where nothing else exists: an empty root directory, as PID 1 of a new PID
# namespace where the machine lets us make one. No /bin/sh, no /etc/passwd, no /tmp, no /proc.
#
#   smoke_static.sh BIN
#
# The whole run is bounded: whatever hangs is killed after 30 seconds and counts as failed.
set -eu

if [ $# -ne 1 ] || [ ! -x "$1" ]; then
	echo 'usage: smoke_static.sh BIN' >&2
	exit 2
fi
bin=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
dir=$(mktemp -d "$(dirname "$bin")/smoke.XXXXXX")
passed=0
failed=0
runner=

cleanup()
{
	# The daemon itself first: what waits for it then ends as well.
	[ -z "$runner" ] || kill -KILL "$(cat "$dir/pid")" "$runner" 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# $1 says what must hold; the rest is a command that tells whether it does.
check()
{
	name=$1
	shift
	if "$@"; then
		passed=$((passed + 1))
		echo "ok      $name"
	else
		failed=$((failed + 1))
		echo "FAILED  $name"
	fi
}

equal()
{
	[ "$1" = "$2" ] || { echo "        got '$1', expected '$2'"; return 1; }
}

contains()
{
	grep -qi -e "$2" "$1" || { echo "        no '$2' in:"; sed 's/^/        /' "$1"; return 1; }
}

# --- the box ---

mkdir "$dir/root"
: >"$dir/log"
cp "$bin" "$dir/root/boxd"

# How to become root of an empty tree here; $box is a command prefix, $init whether it gives PID 1.
init=yes
if unshare --pid --fork true 2>/dev/null; then
	box='unshare --pid --fork --kill-child=KILL'
elif unshare --map-root-user --pid --fork true 2>/dev/null; then
	box='unshare --map-root-user --pid --fork --kill-child=KILL'
else
	echo 'SKIPPED no PID namespace here: boxd does not run as PID 1'
	box=
	init=no
fi

# The shell notes its pid as this side of the namespace sees it, and then becomes boxd: /proc/self
# is read by the shell itself, and belongs to the outer namespace until somebody mounts another.
mkfifo "$dir/stderr"
# shellcheck disable=SC2016,SC2086 # expanded by the inner shell; a command prefix
timeout --signal=KILL 30 $box sh -c '
	read -r pid rest </proc/self/stat
	echo "$pid" >"$1/pid"
	exec chroot "$1/root" /boxd --listen 127.0.0.1:0 --root /w --state-dir /w
' sh "$dir" </dev/null 2>"$dir/stderr" &
runner=$!

# --- what it must do ---

exec 3<"$dir/stderr"
addr=
while IFS= read -r line <&3; do
	printf '%s\n' "$line" >>"$dir/log"
	case $line in
	*'listening addr='*)
		addr=${line##*listening addr=}
		addr=${addr%% *}
		break
		;;
	esac
done
cat <&3 >>"$dir/log" &
exec 3<&-
check 'says where it listens' test -n "$addr"

if [ -n "$addr" ]; then
	pid=$(cat "$dir/pid")
	[ "$init" = no ] || check 'is PID 1 of its namespace' \
		equal "$(awk '/^NSpid:/ { print $NF }' "/proc/$pid/status")" 1

	got=$(curl -sS --max-time 10 -o "$dir/ping" -w '%{http_code} %{size_download}' \
		"http://$addr/ping") || got="curl: $got"
	check 'answers /ping with 200 and nothing else' equal "$got" '200 0'

	got=$(curl -sS --max-time 10 -o "$dir/events" -w '%{http_code}' \
		-H 'Content-Type: application/json' -d '{"command":"true"}' \
		"http://$addr/command") || got="curl: $got"
	check 'answers /command with an event stream' equal "$got" 200
	[ -f "$dir/events" ] || : >"$dir/events"
	check 'reports an error event' contains "$dir/events" '"type": *"error"'
	check 'says that there is no shell' contains "$dir/events" 'shell'

	begin=$(date +%s%N)
	kill -TERM "$pid"
	status=0
	wait "$runner" || status=$?
	runner=
	ms=$((($(date +%s%N) - begin) / 1000000))
	check 'ends with status 0 on TERM' equal "$status" 0
	check "ends within 5 s ($ms ms)" test "$ms" -lt 5000
fi

wait || true # for the copy of stderr
[ "$failed" -eq 0 ] || { echo 'What it said on stderr:'; sed 's/^/        /' "$dir/log"; }
printf 'smoke: %s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
