#!/usr/bin/env bash
# The Prometheus that manifests/prometheus names, as localhost/prometheus:vX.Y.Z in the cluster of up.sh,
# which has no registry: built once from its Go module, with the one discovery that its configuration has.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's#.* image: prom/prometheus:v##p' "$here/../../manifests/prometheus/server.yaml")
image=localhost/prometheus:v$version
build() { buildah --storage-driver overlay "$@"; }
if [ -z "$(build images -q "$image" 2>/dev/null)" ]; then # about 4 minutes on 2 cores
  IFS=. read -r major minor patch <<<"$version"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  CGO_ENABLED=0 GOBIN=$work go install -trimpath -ldflags '-s -w' -tags remove_all_sd,enable_kubernetes_sd \
    "$(printf 'github.com/prometheus/prometheus/cmd/prometheus@v0.%d%02d.%d' "$major" "$minor" "$patch")"
  printf 'FROM scratch\nCOPY prometheus /bin/prometheus\nENTRYPOINT ["/bin/prometheus"]\n' >"$work/Dockerfile"
  build bud -q -t "$image" -f "$work/Dockerfile" "$work" >/dev/null
fi
"$here/load.sh" "$image"
