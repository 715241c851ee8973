#!/bin/sh
# Runs clients that others made against a daemon: run.sh [BUILD_DIR [TEST...]]. A test is the SDK (sdk,
# files), the default, or a browser (terminal), for which the daemon must have been built with
# BOXD_TERMINAL. BOXD_BUILD is the default of BUILD_DIR, BOXD_BIN names the daemon, BUILD_DIR/boxd by
# default. What npm fetches and the pictures of the browser stay in BUILD_DIR/clients.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:-${BOXD_BUILD:-$here/../../build/dev}}" && pwd)
BOXD_BIN=${BOXD_BIN:-$build/boxd}
export BOXD_BIN
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- sdk files

if [ ! -x "$BOXD_BIN" ]; then
	echo "run.sh: no daemon at $BOXD_BIN" >&2
	exit 1
fi

# Modules are found from the place of the file that imports them, so the tests are copied there.
mkdir -p "$build/clients"
cp "$here/package.json" "$here"/*.mjs "$build/clients/"
cd "$build/clients"

npm_install() {
	npm install --no-package-lock --no-audit --no-fund --loglevel=error "$@"
}

npm_install

# The SDK needs node 20; where the system has an older one or none, npm has it as a package.
node=$(command -v node || true)
if [ -z "$node" ] || [ "$("$node" -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
	npm_install --no-save node@20
	node=$build/clients/node_modules/.bin/node
fi

for name; do
	shift
	set -- "$@" "$name.test.mjs"
done
exec "$node" --test "$@"
