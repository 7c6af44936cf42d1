#!/usr/bin/env bash
# [WHICH=slow] run.sh [PYTEST ARGUMENTS]: the tests of tests/cluster against KUBECONFIG's cluster, which can pull or has the
# image; without KUBECONFIG against one of its own, which is taken down again unless it was up before.
set -euo pipefail
cd "$(dirname "$0")/../.."
STATE=${STATE:-$HOME/.cache/tally-cluster}
if [ -z "${KUBECONFIG:-}" ]; then
  scripts/images.sh
  if ! curl -sk https://127.0.0.1:6443/readyz | grep -q ok; then
    trap tests/cluster/down.sh EXIT
  fi
  tests/cluster/up.sh
  version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' tally/__init__.py)
  tests/cluster/load.sh "localhost/tally:$version" "localhost/tally-meter:$version"
  export KUBECONFIG=$STATE/kubeconfig
fi
.venv/bin/python -m pytest -m "cluster and ${WHICH:-not slow}" tests/cluster "$@"
