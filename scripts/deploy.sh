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

# last_event NAMESPACE KIND NAME: what Kubernetes said of it last
last_event() {
	"$kubectl" get events -n "$1" --field-selector "involvedObject.kind=$2,involvedObject.name=$3" \
		--sort-by=.lastTimestamp -o 'go-template={{range .items}}{{.reason}}: {{.message}}{{"\n"}}{{end}}' | tail -n 1
}

# why NAMESPACE DEPLOYMENT: a line for each thing that keeps it from running, in Kubernetes' words. A
# pod without a node has no condition Ready yet
why() {
	"$kubectl" get deployment -n "$1" "$2" -o 'go-template={{range .status.conditions}}{{if eq .type "ReplicaFailure"}}{{.reason}}: {{.message}}{{"\n"}}{{end}}{{end}}'
	"$kubectl" get persistentvolumeclaims -n "$1" -o 'go-template={{range .items}}{{if ne .status.phase "Bound"}}{{.metadata.name}} {{.status.phase}}{{"\n"}}{{end}}{{end}}' |
		while read -r claim phase; do
			echo "claim $claim is $phase: $(last_event "$1" PersistentVolumeClaim "$claim")"
		done
	"$kubectl" get pods -n "$1" -o 'go-template={{range .items}}{{$ready := "no"}}{{range .status.conditions}}{{if eq .type "Ready"}}{{if eq .status "True"}}{{$ready = "yes"}}{{end}}{{end}}{{end}}{{if eq $ready "no"}}{{.metadata.name}}{{"\n"}}{{end}}{{end}}' |
		while read -r pod; do
			event=$(last_event "$1" Pod "$pod")
			case $event in
			*restarting*) event="$event; its log ends: $("$kubectl" logs -n "$1" "$pod" --previous --tail=1)" ;;
			esac
			echo "pod $pod: $event"
		done
}

of Deployment | while read -r space name; do
	"$kubectl" rollout status -n "$space" "deployment/$name" --timeout="${seconds}s" >/dev/null 2>&1 && continue
	why "$space" "$name" >"$work/why" 2>&1 || true
	sed "s/^/  /" "$work/why" >&2
	stop "expected $space/$name to run within $seconds s, got the lines above; correct that, or kubectl describe -n $space deployment/$name"
done
