#!/bin/sh
# Make requirements/*.lock anew, with hashes and without the address of an index. Needs uv.
set -eu
cd "$(dirname "$0")/../requirements"
lock() { # lock NAME OPTIONS...
	name=$1
	shift
	uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
		--no-annotate "$@" "$name.in" -o "$name.lock"
}
for name in local meter dev; do
	lock $name --universal --python-version 3.11 -c constraints.in
done
# The same versions as local.lock wherever they have the same libraries.
for name in worker-gpu worker-tpu; do
	lock $name --python-platform x86_64-manylinux_2_31 --python-version 3.11 -c constraints.in -c local.lock
done
lock focus --universal --python-version 3.12
