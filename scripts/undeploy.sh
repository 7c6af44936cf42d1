#!/bin/sh
# Take an overlay out of the cluster of the current context; again, and nothing is to be done.
# What stays: the ledger's volume claim, and each namespace in which there are volume claims.
#   OVERLAY=…    as deploy
#   FORCE=1      though gangs are running: they end, or in a namespace that stays nobody is left to
#                clean up after them
set -eu
cd "$(dirname "$0")/.."
me=undeploy
. scripts/cluster-tools.sh
finalizer=tally.dev/metered

gangs=$("$kubectl" get jobs -A -l tally.dev/gang \
	-o 'jsonpath={range .items[?(@.status.active>0)]}{.metadata.namespace}/{.metadata.name} {end}')
if [ -n "$gangs" ] && [ "${FORCE:-0}" != 1 ]; then
	stop "expected no gang to run, got $gangs; let them end, make cancel RUN=…, or pass FORCE=1"
fi

# take_off: the meter's finalizer off all gangs' pods, where no meter is left to do it
take_off() {
	[ -z "$("$kubectl" get pods -A -l app.kubernetes.io/name=tally-meter -o name)" ] || return 0
	"$kubectl" get pods -A -l tally.dev/gang -o "go-template={{range .items}}{{\$meta := .metadata}}{{range \$index, \$name := .metadata.finalizers}}{{if eq \$name \"$finalizer\"}}{{\$meta.namespace}} {{\$meta.name}} {{\$index}}{{\"\\n\"}}{{end}}{{end}}{{end}}" |
		while read -r space pod index; do
			path=/metadata/finalizers/$index
			# of another place in the list by now, or gone with its pod: the next round sees it
			"$kubectl" patch pod -n "$space" "$pod" --type=json >/dev/null 2>&1 -p \
				"[{\"op\":\"test\",\"path\":\"$path\",\"value\":\"$finalizer\"},{\"op\":\"remove\",\"path\":\"$path\"}]" || continue
			say "took $finalizer off $space/$pod"
		done
}

# quietly WORDS…: kubectl without "No resources found"
quietly() {
	"$kubectl" "$@" >"$work/said" 2>"$work/error" || stop "expected to $1 $2, got: $(tail -n 1 "$work/error")"
	grep -v '^No resources found' "$work/said" || true
}

say "$overlay from the cluster of context '$where'"
# all but namespaces and the ledger
awk 'function tell() { if (kind != "Namespace" && !(kind == "PersistentVolumeClaim" && name == "tally-ledger")) printf "%s---\n", text }
	/^---/ { tell(); kind = name = text = ""; next }
	/^[a-zA-Z]/ { top = $1; if (top == "kind:") kind = $2 }
	top == "metadata:" && /^  name: / { name = $2 }
	{ text = text $0 "\n" }
	END { tell() }' "$work/objects.yaml" >"$work/gone.yaml"
"$kubectl" delete -f "$work/gone.yaml" --ignore-not-found --cascade=foreground --timeout=120s ||
	stop "expected all of $overlay to be gone within 120 s, got the errors above; undeploy again"
take_off
for space in $(of Namespace | cut -d' ' -f2); do
	[ -n "$("$kubectl" get namespace "$space" --ignore-not-found -o name)" ] || continue
	# of earlier versions: each has the hash of its content in its name
	quietly delete configmaps -n "$space" -l app.kubernetes.io/part-of=tally
	claims=$("$kubectl" get persistentvolumeclaims -n "$space" -o 'jsonpath={.items[*].metadata.name}')
	if [ -n "$claims" ]; then
		say "namespace $space stays with its volume claims: $claims; kubectl delete namespace $space would delete them"
		continue
	fi
	quietly delete jobs -n "$space" -l tally.dev/gang --wait=false
	quietly delete namespace "$space" --wait=false
	left=120
	while [ -n "$("$kubectl" get namespace "$space" --ignore-not-found -o name)" ]; do
		[ "$left" -gt 0 ] || stop "expected namespace $space to be gone within 120 s, got it still there; kubectl describe namespace $space says what holds it"
		left=$((left - 1))
		take_off
		sleep 1
	done
done
