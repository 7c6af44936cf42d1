#!/usr/bin/env bash
# load.sh IMAGE...: from buildah's store into the cluster's containerd. There is no registry, so pods
# say imagePullPolicy Never or IfNotPresent and the full name: localhost/NAME:TAG.
set -euo pipefail
archive=$(mktemp --suffix=.tar)
trap 'rm -f "$archive"' EXIT
client="ctr -a /run/tally-containerd/containerd.sock -n k8s.io"
for image in "$@"; do
  id=$(buildah --storage-driver overlay images -q --no-trunc "$image")
  if $client images ls -q | grep -q "^$id"; then # it is there, maybe not by this name any more
    $client images tag --force "$id" "$image" >/dev/null
    continue
  fi
  rm -f "$archive"
  # uncompressed: it stays on this machine
  buildah --storage-driver overlay push -q --disable-compression "$image" "oci-archive:$archive:$image"
  $client images import "$archive" >/dev/null
done
