#!/bin/sh
# Builds the release: one static musl binary, at build/static/boxd or at OUT.
#
#   build-static.sh [OUT]        the libraries, then boxd
#   build-static.sh --libraries  the libraries only, in build/static/prefix
#
# The libraries come from Debian's source packages, with Debian's patches, so that their security
# fixes arrive as they do for any Debian system and no foreign source is kept in this repository.
# The packages come from wherever this machine gets its own: its apt configuration is copied to a
# private directory with every `deb` turned into `deb-src`, and /etc is left alone.
#
# build/static/  apt/     that configuration, the package lists (a day old at most)
#                src/     unpacked sources, only while they are being built
#                include/ kernel headers and sys/queue.h, which musl-gcc does not see by itself
#                prefix/  headers, archives and .pc files; kept while `prefix/stamp` still fits
#                obj/     the build of boxd
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
dir=$top/build/static
prefix=$dir/prefix
packages='libevent cjson nettle zlib pcre2'
jobs=$(nproc)
cflags='-O2 -ffunction-sections -fdata-sections -fstack-protector-strong'

say()
{
	printf 'build-static: %s\n' "$*"
}

die()
{
	say "$*" >&2
	exit 1
}

# --- Debian's sources ---

apt_conf=$dir/apt/apt.conf

# Writes the private configuration. Absolute paths in the copies (keyrings) still hold.
apt_prepare()
{
	rm -rf "$dir/apt/parts"
	mkdir -p "$dir/apt/parts" "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial"
	eval "$(apt-config shell list Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
	# shellcheck disable=SC2154 # list and parts are set by the line above
	for from in "$list" "$parts"/*.list "$parts"/*.sources; do
		[ -f "$from" ] || continue
		to=$dir/apt/parts/$(basename "$from")
		case $from in
		*.sources) sed 's/^[Tt]ypes:.*/Types: deb-src/' "$from" ;;
		*) sed -n 's/^[[:space:]]*deb\([[:space:]]\)/deb-src\1/p' "$from" ;;
		esac >"$to"
	done
	cat >"$apt_conf" <<-CONF
		Dir::Etc::SourceList "/dev/null";
		Dir::Etc::SourceParts "$dir/apt/parts";
		Dir::State::Lists "$dir/apt/lists";
		Dir::Cache "$dir/apt/cache";
		Acquire::Retries "3";
	CONF
}

# A source that publishes no source packages makes apt complain; what matters is whether ours are found.
apt_update()
{
	if [ -n "$(find "$dir/apt/updated" -mmin -1440 2>/dev/null)" ] &&
		[ -n "$(apt_version zlib)" ]; then
		return
	fi
	say 'reading the lists of source packages'
	if apt-get -c "$apt_conf" -q update >"$dir/apt/update.log" 2>&1; then
		touch "$dir/apt/updated"
	else
		say "apt-get update had trouble, going on with what is there: $dir/apt/update.log"
	fi
}

# The versions of source package $1 that the machine's configuration offers, the newest first.
apt_versions()
{
	apt-cache -c "$apt_conf" showsrc --only-source "$1" 2>/dev/null |
		sed -n 's/^Version: //p' | {
		sorted=
		while read -r v; do
			before=
			after=
			for w in $sorted; do
				if dpkg --compare-versions "$v" gt "$w"; then
					after="$after $w"
				else
					before="$before $w"
				fi
			done
			sorted="$before $v$after"
		done
		printf '%s' "$sorted"
	}
}

# The newest one, or nothing.
apt_version()
{
	# shellcheck disable=SC2046 # a list of words
	set -- $(apt_versions "$1")
	printf '%s' "${1:-}"
}

# Unpacks source package $1, patches applied, and enters it. A mirror may list a version, usually a
# security update, that it does not have: the next older one is then taken, and that is said.
unpack()
{
	mkdir -p "$dir/src/$1"
	cd "$dir/src/$1"
	for version in $(apt_versions "$1"); do
		say "source: $1 $version"
		if apt-get -c "$apt_conf" -q source --only-source "$1=$version" >unpack.log 2>&1; then
			break
		fi
		tail -n 3 unpack.log >&2
		say "WARNING: cannot get the source of $1 $version; what it fixes will be missing" >&2
		version=
	done
	[ -n "$version" ] || die "no source of $1"
	# One directory is born here: the unpacked tree.
	cd ./*/
}

# --- the libraries ---

# What the kernel and glibc packages install and musl-tools does not.
host_headers()
{
	arch=$(gcc -print-multiarch)
	rm -rf "$dir/include"
	mkdir -p "$dir/include/sys"
	ln -s /usr/include/linux /usr/include/asm-generic "$dir/include/"
	for asm in "/usr/include/$arch/asm" /usr/include/asm; do
		[ -d "$asm" ] && ln -s "$asm" "$dir/include/asm" && break
	done
	for queue in "/usr/include/$arch/sys/queue.h" /usr/include/sys/queue.h; do
		[ -f "$queue" ] && ln -s "$queue" "$dir/include/sys/queue.h" && break
	done
	if [ ! -e "$dir/include/asm" ] || [ ! -e "$dir/include/sys/queue.h" ]; then
		die 'no kernel headers or no sys/queue.h: run container/deps.sh static'
	fi
}

# $1 module, $2 version, $3 library name.
pc_file()
{
	cat >"$prefix/lib/pkgconfig/$1.pc" <<-PC
		prefix=$prefix
		Name: $1
		Description: $1, static, for the release of boxd
		Version: $2
		Cflags: -I\${prefix}/include
		Libs: -L\${prefix}/lib -l$3
	PC
}

# The upstream part of a Debian version.
upstream()
{
	printf '%s' "$1" | sed -e 's/^[0-9]*://' -e 's/-[^-]*$//' -e 's/[+~].*//' -e 's/\.dfsg.*//' \
		-e 's/-stable$//'
}

run()
{
	"$@" >>"$dir/src/build.log" 2>&1 || {
		tail -n 30 "$dir/src/build.log" >&2
		die "failed: $*"
	}
}

build_libevent()
{
	# The patches touch the inputs of the autotools; what they generated is still right.
	find . -name aclocal.m4 -exec touch {} +
	find . \( -name configure -o -name Makefile.in -o -name config.h.in \) -exec touch {} +
	run ./configure --prefix="$prefix" CC=musl-gcc CFLAGS="$cc_flags" \
		--disable-shared --enable-static --disable-openssl --disable-samples \
		--disable-libevent-regress --disable-debug-mode --disable-dependency-tracking \
		AUTOMAKE=: ACLOCAL=: AUTOCONF=: AUTOHEADER=:
	run make include/event2/event-config.h
	run make -j"$jobs" libevent_core.la
	cp .libs/libevent_core.a "$prefix/lib/"
	cp -R include/event2 "$prefix/include/"
	pc_file libevent_core "$1" event_core
}

build_cjson()
{
	# One file; its own build adds nothing but shared libraries and tests.
	# shellcheck disable=SC2086 # a list of flags
	run musl-gcc $cc_flags -c cJSON.c -o cJSON.o
	run ar rcs "$prefix/lib/libcjson.a" cJSON.o
	mkdir -p "$prefix/include/cjson"
	cp cJSON.h "$prefix/include/cjson/"
	pc_file libcjson "$1" cjson
	# As in Debian's own file: <cjson/cJSON.h> and <cJSON.h> both work.
	sed -i "s|^Cflags:.*|& -I$prefix/include/cjson|" "$prefix/lib/pkgconfig/libcjson.pc"
}

build_nettle()
{
	run ./configure --prefix="$prefix" CC=musl-gcc CFLAGS="$cc_flags" \
		--disable-shared --disable-openssl --disable-documentation --enable-mini-gmp \
		--disable-dependency-tracking
	run make -j"$jobs" libnettle.a
	cp libnettle.a "$prefix/lib/"
	mkdir -p "$prefix/include/nettle"
	cp ./*.h "$prefix/include/nettle/"
	pc_file nettle "$1" nettle
}

build_zlib()
{
	run env CC=musl-gcc CFLAGS="$cc_flags" ./configure --static --prefix="$prefix"
	run make -j"$jobs" libz.a
	cp libz.a "$prefix/lib/"
	cp zlib.h zconf.h "$prefix/include/"
	pc_file zlib "$1" z
}

build_pcre2()
{
	find . -name aclocal.m4 -exec touch {} +
	find . \( -name configure -o -name Makefile.in -o -name config.h.in \) -exec touch {} +
	run ./configure --prefix="$prefix" CC=musl-gcc CFLAGS="$cc_flags" \
		--disable-shared --enable-static --enable-jit --disable-pcre2-16 --disable-pcre2-32 \
		--disable-pcre2grep-libz --disable-pcre2grep-libbz2 --disable-dependency-tracking \
		AUTOMAKE=: ACLOCAL=: AUTOCONF=: AUTOHEADER=:
	run make -j"$jobs" libpcre2-8.la
	cp .libs/libpcre2-8.a "$prefix/lib/"
	cp src/pcre2.h "$prefix/include/"
	pc_file libpcre2-8 "$1" pcre2-8
}

# What the archives in prefix/ are made of: any difference builds them all again.
stamp()
{
	for package in $packages; do
		version=$(apt_version "$package")
		[ -n "$version" ] || die "no source package $package; see $dir/apt/update.log"
		echo "$package $version"
	done
	dpkg-query -W -f '${Package} ${Version}\n' musl-dev gcc
	sed -n '/^# --- the libraries/,/^# --- boxd/p' "$0" | cksum
	echo "$cflags"
}

libraries()
{
	apt_prepare
	apt_update
	now=$(stamp) || exit 1
	host_headers
	if [ "$now" = "$(cat "$prefix/stamp" 2>/dev/null)" ]; then
		say 'libraries: up to date'
		return
	fi
	rm -rf "$prefix" "$dir/src" "$dir/obj"
	mkdir -p "$prefix/lib/pkgconfig" "$prefix/include" "$dir/src"
	for package in $packages; do
		(
			unpack "$package"
			"build_$package" "$(upstream "$version")"
		)
	done
	rm -rf "$dir/src"
	printf '%s\n' "$now" >"$prefix/stamp"
}

# --- boxd ---

boxd()
{
	cd "$top"
	# Only the archives built here may be found, whatever else the machine has.
	PKG_CONFIG_LIBDIR=$prefix/lib/pkgconfig PKG_CONFIG_PATH='' cmake -S . -B "$dir/obj" -G Ninja \
		-DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=musl-gcc \
		-DCMAKE_C_FLAGS="$cc_flags" -DCMAKE_C_FLAGS_RELEASE='-DNDEBUG' \
		-DCMAKE_EXE_LINKER_FLAGS=-Wl,--gc-sections \
		-DCMAKE_COMPILE_WARNING_AS_ERROR=ON -DBOXD_STATIC=ON -DBOXD_TESTS=OFF \
		-DBOXD_TERMINAL=ON
	cmake --build "$dir/obj" --target boxd
	mkdir -p "$(dirname "$1")"
	strip --strip-all --remove-section=.comment -o "$1" "$dir/obj/boxd"
}

# A binary that asks for a loader or a library runs on the builder and fails in the box.
check_static()
{
	if readelf --program-headers --wide "$1" | grep -q INTERP; then
		die "$1 asks for a program interpreter"
	fi
	if readelf --dynamic --wide "$1" | grep -q NEEDED; then
		die "$1 needs shared libraries"
	fi
}

out=$dir/boxd
case ${1:-} in
--libraries) out= ;;
-*)
	echo 'usage: build-static.sh [OUT | --libraries]' >&2
	exit 2
	;;
/*) out=$1 ;;
?*) out=$PWD/$1 ;;
esac

command -v musl-gcc >/dev/null || die 'no musl-gcc: run container/deps.sh static'
mkdir -p "$dir"
cc_flags="$cflags -isystem $dir/include"
libraries
[ -n "$out" ] || exit 0
boxd "$out"
check_static "$out"
say "$out: $(stat -c %s "$out") bytes, static"
