# What deploy.sh and undeploy.sh share; sourced by them. `me` is who speaks.
say() { echo "$me: $1" >&2; }
stop() { say "$1"; exit "${2:-1}"; }

overlays=$(cd manifests/overlays && echo *)
overlay=${OVERLAY:-}
case $overlay in
"") stop "expected OVERLAY, got none; pass one of $overlays, or a folder of yours" 2 ;;
*/*) folder=$overlay ;;
*)
	folder=manifests/overlays/$overlay
	[ -d "$folder" ] || folder=./$overlay
	;;
esac
[ -f "$folder/kustomization.yaml" ] ||
	stop "expected OVERLAY to be one of $overlays, or a folder with a kustomization.yaml, got '$overlay'" 2

kubectl=${KUBECTL:-$(command -v kubectl || echo "${STATE:-/var/cache/tally-cluster}/bin/kubectl")}
command -v "$kubectl" >/dev/null 2>&1 ||
	stop "expected kubectl 1.27 or newer, got none; install it (kubernetes.io/docs/tasks/tools) or set KUBECTL" 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$kubectl" kustomize "$folder" >"$work/objects.yaml" 2>"$work/error" ||
	stop "expected $folder to build, got: $(tail -n 1 "$work/error")" 2
where=$("$kubectl" config current-context 2>/dev/null || echo "none")
"$kubectl" get --raw=/readyz --request-timeout=10s >/dev/null 2>"$work/error" ||
	stop "expected a cluster at the context '$where', got: $(tail -n 1 "$work/error"); set KUBECONFIG, or make cluster-up" 2

# of KIND...: "namespace name" of each object of these kinds in the overlay; "-" where it has none
of() {
	awk -v wanted=" $* " '
		function tell() { if (index(wanted, " " kind " ")) print (space == "" ? "-" : space), name }
		/^---/ { tell(); kind = name = space = ""; next }
		/^[a-zA-Z]/ { top = $1; if (top == "kind:") kind = $2 }
		top == "metadata:" && /^  name: / { name = $2 }
		top == "metadata:" && /^  namespace: / { space = $2 }
		END { tell() }' "$work/objects.yaml"
}
