#!/bin/sh
# Install an overlay into the cluster of the current context; again, and what is there is unchanged.
#   OVERLAY=…    a name in manifests/overlays, or a folder of yours with a kustomization.yaml
#   IMAGES=…     "localhost/tally-meter=registry.example/tally-meter@sha256:…" and more by spaces:
#                images by other names than the manifests'
#   WAIT=…       seconds until all of it has to run; 120. With 0 nobody waits
set -eu
cd "$(dirname "$0")/.."
me=deploy
. scripts/cluster-tools.sh

for pair in ${IMAGES:-}; do
	case $pair in
	*[!a-zA-Z0-9./:@_=-]* | *=*=* | =* | *=) stop "expected IMAGES=\"name=other …\", got '$pair'" 2 ;;
	*=*) ;;
	*) stop "expected IMAGES=\"name=other …\", got '$pair'" 2 ;;
	esac
	name=${pair%%=*}
	grep -qE "image: $name([:@].*)?$" "$work/objects.yaml" ||
		stop "expected IMAGES to name an image of $overlay, got '$name'; it has $(sed -n 's/.* image: //p' "$work/objects.yaml" | sort -u | tr '\n' ' ')" 2
	sed -E "s#( image: )$name([:@].*)?\$#\1${pair#*=}#" "$work/objects.yaml" >"$work/named.yaml"
	mv "$work/named.yaml" "$work/objects.yaml"
done

say "$overlay to the cluster of context '$where'"
"$kubectl" apply -f "$work/objects.yaml" || stop "expected the cluster to take all of $overlay, got the errors above; correct them and deploy again"
seconds=${WAIT:-120}
[ "$seconds" = 0 ] && exit 0
of Deployment | while read -r space name; do
	"$kubectl" rollout status -n "$space" "deployment/$name" --timeout="${seconds}s" >/dev/null 2>&1 && continue
	"$kubectl" get pods -n "$space" >&2
	stop "expected $space/$name to run within $seconds s, got the pods above; kubectl describe -n $space deployment/$name says why"
done
