# built.sh - read by the benches that start servers: these
# and a build of their own, or the build that $BUILD names and what is in $PATH.
if [ -z "${BUILD-}" ]; then
	PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	export PATH
	mkdir -p build-bench/servers
	sh etc/packages "$(pwd)/build-bench/servers" build bench
	# shellcheck source=/dev/null
	. build-bench/servers/env
	BUILD=$(pwd)/build-bench
	[ -f "$BUILD/build.ninja" ] || meson setup "$BUILD" \
		--buildtype=release -Dtests=disabled >"$BUILD/setup.log"
	ninja -C "$BUILD" >"$BUILD/build.log" || {
		tail -n 30 "$BUILD/build.log" >&2
		exit 1
	}
fi
SIGNET=${SIGNET-$BUILD/signet}
export BUILD SIGNET
