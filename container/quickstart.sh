#!/bin/sh
# From a fresh Debian 12 to a command whose output streams over HTTP: installs the packages, builds
# the release, starts boxd on a free port, runs one command through it and stops it again.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
box=$(mktemp -d)
pid=

cleanup()
{
	status=$?
	trap - EXIT
	if [ -n "$pid" ]; then
		kill -TERM "$pid" 2>/dev/null || true
		wait "$pid" || true
	fi
	if [ "$status" -ne 0 ] && [ -s "$box/log" ]; then
		echo 'What boxd said:' >&2
		cat "$box/log" >&2
	fi
	rm -rf "$box"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step()
{
	printf '\n== %s\n' "$*"
}

step 'Packages'
sh "$top/container/deps.sh" build

step 'Build'
cd "$top"
# Without the page of GET /terminal, which would need node and npm.
cmake --preset release -DBOXD_TERMINAL=OFF
cmake --build --preset release --target boxd
boxd=$top/build/release/boxd

step 'Start'
mkdir "$box/state"
# A pipe instead of a file: reading it waits for the line that tells the port, and ends if boxd does.
mkfifo "$box/stderr"
"$boxd" --listen 127.0.0.1:0 --root "$box/workspace" --state-dir "$box/state" \
	</dev/null 2>"$box/stderr" &
pid=$!
exec 3<"$box/stderr"
addr=
while IFS= read -r line <&3; do
	printf '%s\n' "$line" | tee -a "$box/log"
	case $line in
	*'listening addr='*)
		addr=${line##*listening addr=}
		addr=${addr%% *}
		break
		;;
	esac
done
[ -n "$addr" ] || { echo 'boxd ended before it listened' >&2; exit 1; }
cat <&3 >>"$box/log" &
exec 3<&-

step 'Run a command; each event arrives when its line is written'
# shellcheck disable=SC2016 # $i is for the shell in the box
body='{"command":"for i in 1 2 3; do echo \"line $i\"; sleep 0.2; done; uname -sr"}'
printf "curl -N http://%s/command -H 'Content-Type: application/json' -d '%s'\n\n" "$addr" "$body"
curl -sS -N --fail-with-body --max-time 30 -H 'Content-Type: application/json' -d "$body" \
	"http://$addr/command" | tee "$box/stream"
grep -q '"line 3' "$box/stream" || { echo 'the output did not arrive' >&2; exit 1; }
grep -q 'execution_complete' "$box/stream" || { echo 'the command did not complete' >&2; exit 1; }

step 'Stop'
kill -TERM "$pid"
stopped=0
wait "$pid" || stopped=$?
pid=
[ "$stopped" -eq 0 ] || { echo "boxd ended with status $stopped" >&2; exit 1; }
echo 'boxd ended by itself, with status 0.'

cat <<EOF

It works. Go on with

  $boxd --root /tmp/box            # then, in another terminal:
  curl -N http://127.0.0.1:44772/command -H 'Content-Type: application/json' -d '{"command":"id"}'

  sh container/build-static.sh     # one static binary for any image: build/static/boxd
  sh tests/run.sh                  # every test
EOF
