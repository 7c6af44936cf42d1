#!/usr/bin/env bash
# load.sh IMAGE...: from buildah's store into the cluster's containerd. There is no registry, so pods
# say imagePullPolicy Never or IfNotPresent and the full name: localhost/NAME:TAG.
set -euo pipefail
. "$(dirname "$0")/cluster.sh"
archive=$STATE/load.$$.tar # where it was killed, the next up.sh removes it
trap 'rm -f "$archive"' EXIT
for image in "$@"; do
  id=$(buildah --storage-driver overlay images -q --no-trunc "$image")
  if complete "$id"; then # it is there, maybe not by this name any more
    client images tag --force "$id" "$image" >/dev/null
    continue
  fi
  rm -f "$archive"
  # uncompressed: it stays on this machine
  buildah --storage-driver overlay push -q --disable-compression "$image" "oci-archive:$archive:$image"
  for _ in 1 2; do # again where what was half there was of no use
    client images import "$archive" >/dev/null && complete "$image" && continue 2
    client images rm --sync "$image" "$id" >/dev/null 2>&1 || true
  done
  stop "expected containerd to take all of $image, got the above; remove $STATE/containerd, then make cluster-up"
done
