#!/bin/sh
# Installs what a step needs from Debian 12's own packages. Cheap to call again: when everything is
# there, one dpkg-query is all that runs.
#
#   deps.sh MODE...
#
#   build    compiler, cmake and the libraries boxd links
#   page     build, and node with npm where there is no node yet: for the terminal page
#   test     build, and clang with its tools and sanitizers, cmocka, pytest and its peers
#   clients  test and page, and a browser with what is run in its terminal
#   static   page, and musl with what building the libraries from source needs
#   bench    build, and the tools boxd is measured with and against
set -eu

build='gcc libc6-dev cmake ninja-build pkg-config curl
	libevent-dev libcjson-dev nettle-dev zlib1g-dev libpcre2-dev'
test='clang clang-format clang-tidy libclang-rt-14-dev llvm libcmocka-dev
	python3 python3-pytest python3-h11 python3-requests python3-websockets python3-wsproto busybox'
clients='chromium fonts-dejavu-core less vim-tiny'
static='musl-tools linux-libc-dev dpkg-dev make m4'
bench='wrk nginx-light ripgrep'

usage()
{
	echo 'usage: deps.sh build|page|test|clients|static|bench...' >&2
	exit 2
}

[ $# -gt 0 ] || usage
page=
command -v npm >/dev/null || page='nodejs npm'
want=$build
for mode; do
	case $mode in
	build) ;;
	page) want="$want $page" ;;
	test) want="$want $test" ;;
	clients) want="$want $test $page $clients" ;;
	static) want="$want $page $static" ;;
	bench) want="$want $bench" ;;
	*) usage ;;
	esac
done

# The names in $want that dpkg does not list as installed, for any architecture.
missing()
{
	# shellcheck disable=SC2086 # a list of package names
	{
		dpkg-query -W -f '${Package} ${db:Status-Status}\n' $want 2>/dev/null || true
		printf '%s wanted\n' $want
	} | awk '$2 == "installed" { have[$1] = 1 }
		$2 == "wanted" && !have[$1]++ { print $1 }'
}

need=$(missing | tr '\n' ' ')
[ -n "$need" ] || exit 0

root=
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "deps.sh: run this as root, or install sudo. Missing: $need" >&2
		exit 1
	fi
	root=sudo
fi

echo "deps.sh: installing $need"
$root apt-get -q -o DPkg::Lock::Timeout=120 update
# shellcheck disable=SC2086
$root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 \
	install --no-install-recommends $need
