#!/usr/bin/env bash
# A cluster of this machine's own that has this tree's images; built once, then up in seconds.
set -euo pipefail
cd "$(dirname "$0")/../.."
BUILDER=buildah scripts/images.sh # load.sh takes them out of its store
tests/cluster/up.sh
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' tally/__init__.py)
tests/cluster/load.sh "localhost/tally:$version" "localhost/tally-meter:$version"
tests/cluster/prometheus.sh
