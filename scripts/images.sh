#!/bin/sh
# Build the images into buildah's store: localhost/tally:VERSION of a run's pods, and
# localhost/tally-meter:VERSION. Debian, root, buildah.
#   BASE=…   a base with Python 3.11 and venv, when the registry of the usual one cannot be reached
#            and none should be made by mmdebstrap
set -eu
cd "$(dirname "$0")/.."
usual=docker.io/library/python:3.11-slim-bookworm
own=localhost/tally-base:bookworm
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' tally/__init__.py)

say() { echo "images: $1" >&2; }
build() { buildah --storage-driver overlay "$@"; }
if ! command -v buildah >/dev/null 2>&1; then
	say "expected buildah, got none; run: sudo make test-deps"
	exit 2
fi

base=${BASE:-}
if [ -z "$base" ]; then
	if build inspect --type image "$usual" >/dev/null 2>&1 ||
		timeout 300 buildah --storage-driver overlay pull -q "$usual" >/dev/null 2>&1; then
		base=$usual
	else
		base=$own
	fi
fi
if [ "$base" = "$own" ] && ! build inspect --type image "$own" >/dev/null 2>&1; then
	say "no registry: a base from Debian's packages"
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$work/base.tar"
	printf 'FROM scratch\nADD base.tar /\n' >"$work/Dockerfile"
	build bud -q -t "$own" -f "$work/Dockerfile" "$work" >/dev/null
	rm -rf "$work"
	trap - EXIT
fi

# A proxy with a CA of its own may stand before the package index: what pip needs on this machine,
# for the build only.
set -- --layers --isolation chroot --ignorefile images/worker.containerignore --build-arg "BASE=$base"
for path in /etc/ssl/certs /etc/pip.conf; do
	[ -e "$path" ] && set -- "$@" -v "$path:$path:ro"
done
for name in worker meter; do
	begin=$(date +%s)
	case $name in worker) image=localhost/tally:$version ;; *) image=localhost/tally-$name:$version ;; esac
	build bud -q "$@" -t "$image" -f "images/$name.Dockerfile" . >/dev/null
	# of which sources it is: what a compiled pipeline expects of it
	case $name in worker) build tag "$image" "$image-$(PYTHONPATH=. python3 -m tally.content)" ;; esac
	say "$image from $base in $(($(date +%s) - begin)) s"
done
