#!/usr/bin/env bash
# [WHICH=slow|smoke] run.sh [PYTEST ARGUMENTS]: the tests of tests/cluster against KUBECONFIG's cluster,
# which can pull or has the images; without KUBECONFIG against one of its own, which is taken down
# again unless it was up before.
set -euo pipefail
cd "$(dirname "$0")/../.."
. ./tests/cluster/cluster.sh
if [ -z "${KUBECONFIG:-}" ]; then
  if ! whole; then
    own=yes
    trap tests/cluster/down.sh EXIT
  fi
  tests/cluster/ready.sh
  export KUBECONFIG=${STATE:-/var/cache/tally-cluster}/kubeconfig
fi
tests() { exec .venv/bin/python -m pytest -o faulthandler_timeout=960 -m "cluster and ${WHICH:-not slow}" "$@"; }
if [ $# -gt 0 ]; then
  (tests "$@")
  exit
fi
# The meter's tests mostly wait for the cluster, and so do the gangs': side by side, each in its order.
# Those of gangs without a meter are among the former, since any meter would let their pods go, and so
# are those of what is deployed, which has one: last, from deploying it to taking it away. Alone, when
# all others are done: placement, whose fake nodes would take others' pods, a gang that is to find room
# for a second worker in time, and whole pipelines, which take both cores and have a meter.
log=$(mktemp)
alone=(tests/cluster/test_{placement,scaled_training,pipeline_pods,kubeflow}.py)
metered=(tests/cluster/test_{meter*,gang_without_meter,deploy,doctor,deployed_run,undeploy}.py)
trap '[ -z "$meters" ] || kill "$meters" 2>/dev/null || true; rm -f "$log"; [ -z "${own:-}" ] || tests/cluster/down.sh' EXIT
of_gangs=0 of_meters=0 of_alone=0 meters=
if [ "${WHICH:-}" = smoke ]; then # few enough for one after the other, so that every pod finds room
  (tests "${metered[@]}") || of_meters=$?
else
  (tests "${metered[@]}") >"$log" 2>&1 &
  meters=$!
fi
(tests tests/cluster "${metered[@]/#/--ignore=}" "${alone[@]/#/--ignore=}") || of_gangs=$?
if [ -n "$meters" ]; then
  wait "$meters" || of_meters=$?
  cat "$log"
fi
(tests "${alone[@]}") || of_alone=$?
for code in $of_gangs $of_meters $of_alone; do
  [ "$code" -eq 0 ] || [ "$code" -eq 5 ] || exit "$code" # 5: none of them was asked for
done
