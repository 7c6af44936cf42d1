#!/usr/bin/env bash
# One-node Kubernetes for tests, with DNS and room for fake nodes: its programs are built from Go modules once,
# then it is up in seconds, and empty, whatever was left of the last one. Debian, root, the programs of
# `make test-deps`, and go.
#   make cluster-up, then  export KUBECONFIG=/var/cache/tally-cluster/kubeconfig
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/cluster.sh"
go_release=$(go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p' || true)
[ "${go_release:-0}" -ge 21 ] || stop "expected go 1.21 or newer, got ${go_release:+1.}${go_release:-none}; install it from go.dev/dl or a newer Debian"
for program in containerd runc iptables conntrack ip ss buildah openssl curl; do
  command -v "$program" >/dev/null || stop "expected $program, got none; run: sudo make test-deps"
done
[ "$(id -u)" -eq 0 ] || stop "expected root, got $(id -un); use a cluster of yours: KUBECONFIG=… make test-cluster"
IP=$(hostname -I | cut -d' ' -f1)
lock
if whole; then echo "already up: KUBECONFIG=$STATE/kubeconfig"; exit 0; fi
read -r size free < <(df -k --output=size,avail "$STATE" | tail -n 1)
wanted=$((size / 50 + (1 << 20))) # the kubelet runs nothing where 1 % is free
[ "$free" -ge "$wanted" ] || stop "expected $((wanted >> 10)) MiB free at $STATE, got $((free >> 10)); free some, or set STATE"
mine=" $(ours | cut -d' ' -f1 | tr '\n' ' ')"
while read -r _ _ _ address _ user; do
  pid=${user#*pid=} pid=${pid%%,*} name=${user#*\"} name=${name%%\"*}
  case $address in
  *:2379 | *:2380 | *:6443 | *:10248 | *:10249 | *:10250 | *:10256 | *:10257 | *:10259 | "$IP:53" | 0.0.0.0:53 | \*:53 | "[::]:53") ;;
  *) continue ;;
  esac
  [[ $mine = *" $pid "* ]] || stop "expected port ${address##*:} to be free, got ${name:-a program not to be seen from here} there (pid ${pid:-unknown}); end it first"
done < <(ss -Hltnp)
clear_ruins
install -d -m 755 "$STATE" "$STATE"/{bin,bin/new,cni}
install -d -m 700 "$STATE"/{pki,log}
cd "$STATE"

if [ ! -x "$KUBE" ]; then # about 6 minutes on 2 cores from an empty cache
  flags="-s -w" version=${KUBE##*-v}
  for package in component-base/version client-go/pkg/version; do
    flags+=" -X k8s.io/$package.gitVersion=v$version -X k8s.io/$package.gitMajor=1 -X k8s.io/$package.gitMinor=34"
  done
  (cd "$here/kube" && CGO_ENABLED=0 go build -trimpath -ldflags "$flags" -o "$STATE/bin/new/kube" .)
  mv bin/new/kube "$KUBE"
fi
printf '#!/bin/sh\nexec "%s" kubectl "$@"\n' "$KUBE" >bin/new/kubectl
chmod 755 bin/new/kubectl
mv bin/new/kubectl bin/
for program in github.com/coredns/coredns@v1.15.0 sigs.k8s.io/kwok/cmd/kwok@v0.7.0; do
  name=${program%@*} name=${name##*/}
  [ ! -x "bin/$name" ] || continue
  CGO_ENABLED=0 GOBIN=$STATE/bin/new go install -trimpath -ldflags '-s -w' "$program"
  mv "bin/new/$name" bin/
done

declare -A started
run() { # run NAME COMMAND...: in the background, in its own session, logging to log/NAME.log
  local name=$1; shift
  (
    for fd in /proc/"$BASHPID"/fd/*; do # the lock, and what else its caller may have open
      fd=${fd##*/}
      [ "$fd" -le 2 ] || exec {fd}>&-
    done
    exec setsid "$@" >"log/$name.log" 2>&1 </dev/null
  ) &
  started[$name]=$!
}
running() { kill -0 "${started[$1]}" 2>/dev/null; }
until_true() { # until_true SECONDS WHAT COMMAND...: while all that was started runs
  local ends=$((SECONDS + $1)) what=$2 name; shift 2
  until "$@" >/dev/null 2>&1; do
    for name in "${!started[@]}"; do
      running "$name" || stop "expected $name to run, got: $(tail -n 1 "log/$name.log"); see $STATE/log/$name.log"
    done
    [ $SECONDS -lt $ends ] || stop "expected $what within a minute, got none; see $STATE/log"
    sleep 0.2
  done
}
kubectl() { "$KUBE" kubectl --kubeconfig=kubeconfig "$@" 9>&-; }
new_key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
signed() { # signed NAME SUBJECT [EXTENSIONS]: a key and a certificate from the test CA
  openssl req "${new_key[@]}" -keyout "pki/$1.key" -out "pki/$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "pki/$1.csr" -CA pki/ca.crt -CAkey pki/ca.key -CAcreateserial -days 30 \
    -out "pki/$1.crt" -extfile <(echo "${3:-}") 2>/dev/null
}
# Anew each time, so that none is old, half written or of another address.
openssl req -x509 "${new_key[@]}" -keyout pki/ca.key -out pki/ca.crt -subj /CN=test-ca -days 30 2>/dev/null
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out pki/sa.key
openssl pkey -in pki/sa.key -pubout -out pki/sa.pub
signed apiserver /CN=kube-apiserver \
  "subjectAltName=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost,IP:127.0.0.1,IP:10.96.0.1,IP:$IP"
signed kubelet-client /O=system:masters/CN=kubelet-client
token=$(openssl rand -hex 16)
echo "$token,admin,admin,\"system:masters\"" >pki/tokens.csv
(umask 077 && cat >kubeconfig) <<YAML
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://127.0.0.1:6443", certificate-authority: $STATE/pki/ca.crt}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
YAML

sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
cat >cni/10-bridge.conflist <<JSON
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$RUN/leases", "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}, {"type": "loopback"}]}
JSON
# restrict_oom_score_adj: without CAP_SYS_RESOURCE runc may not lower a score, and every sandbox fails
cat >containerd.toml <<TOML
version = 2
root = "$STATE/containerd"
state = "$RUN"
[grpc]
  address = "$RUN/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    options = {Root = "$RUN/runc"}
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$STATE/cni"
TOML
cat >kubelet.yaml <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
failSwapOn: false
failCgroupV1: false
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://$RUN/containerd.sock
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $STATE/pki/ca.crt}}
authorization: {mode: Webhook}
YAML

# Whether a file of bolt's has all the pages below the highest that it has used; each of its first two
# says which that is, after 56 bytes, and the one that was written last is right. Of one that is cut
# later pages are read as empty, and who comes upon one ends, whenever that is.
whole_records() {
  local pages=0 at
  [ -e "$1" ] || return 0
  for at in 56 4152; do pages="$pages $(od -An -tu8 -j$at -N8 "$1" 2>/dev/null || true)"; done
  # shellcheck disable=SC2086
  pages=$(printf '%s\n' $pages | sort -n | tail -n 1)
  awk -v pages="$pages" -v size="$(stat -c %s "$1")" 'BEGIN { exit size < pages * 4096 }'
}
ended() { kill -9 "${started[$1]}" 2>/dev/null || true; wait "${started[$1]}" 2>/dev/null || true; }
answers() { # whether containerd comes up with what it has kept
  local ends=$((SECONDS + 20))
  run containerd containerd --config "$STATE/containerd.toml"
  until client version >/dev/null 2>&1; do
    running containerd && [ $SECONDS -lt $ends ] || return
    sleep 0.1
  done
}
swept() { # whether containerd is up without the last one's containers and without images in part
  local left
  answers && left=$(client containers ls -q 2>/dev/null) || return
  if [ -n "$left" ]; then # its part for Kubernetes has read of them already
    # shellcheck disable=SC2086
    client containers rm $left >/dev/null 2>&1 || return
    ended containerd
    answers || return
  fi
  left=$(comm -23 <(client images ls -q | sort) <(whole_images | sort))
  # shellcheck disable=SC2086
  [ -z "$left" ] || client images rm --sync $left >/dev/null 2>&1 || return
  # where a page of its records is lost it ends once that is read: all are, here, and one is written
  for left in namespaces images content snapshots leases; do client "$left" ls >/dev/null 2>&1 || return; done
  client leases create --id swept >/dev/null 2>&1 && client leases delete --sync swept >/dev/null 2>&1
}
for records in containerd/io.containerd.*/*.db; do
  whole_records "$records" || { say "containerd's records are cut: loading images anew"; rm -rf containerd; break; }
done
if ! swept; then
  say "containerd cannot use what it has kept: loading images anew"
  ended containerd
  rm -rf containerd
  swept || stop "expected containerd to start, got: $(tail -n 1 log/containerd.log); see $STATE/log/containerd.log"
fi
run etcd "$KUBE" etcd --data-dir etcd --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync
run apiserver "$KUBE" apiserver --etcd-servers=http://127.0.0.1:2379 --advertise-address="$IP" \
  --tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key --client-ca-file=pki/ca.crt \
  --token-auth-file=pki/tokens.csv --authorization-mode=Node,RBAC --allow-privileged=true \
  --service-account-key-file=pki/sa.pub --service-account-signing-key-file=pki/sa.key \
  --service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range=10.96.0.0/16 \
  --kubelet-preferred-address-types=InternalIP \
  --kubelet-client-certificate=pki/kubelet-client.crt --kubelet-client-key=pki/kubelet-client.key
until_true 60 "an API server" ready
run manager "$KUBE" manager --kubeconfig=kubeconfig --service-account-private-key-file=pki/sa.key \
  --root-ca-file=pki/ca.crt --use-service-account-credentials=true --leader-elect=false --controllers='*,-nodeipam'
run scheduler "$KUBE" scheduler --kubeconfig=kubeconfig --leader-elect=false
run kubelet "$KUBE" kubelet --config=kubelet.yaml --kubeconfig=kubeconfig --hostname-override=node-0 \
  --root-dir="$STATE/kubelet" --cert-dir=pki --node-ip="$IP"
run proxy "$KUBE" proxy --kubeconfig=kubeconfig --hostname-override=node-0 --cluster-cidr=10.88.0.0/16 \
  --proxy-mode=iptables --conntrack-max-per-core=0

# Cluster DNS: CoreDNS on the node, behind the address that pods are given.
cat >Corefile <<CORE
.:53 {
  bind $IP
  errors
  kubernetes cluster.local in-addr.arpa ip6.arpa { kubeconfig $STATE/kubeconfig test
  }
  cache 5
}
CORE
run coredns "$STATE/bin/coredns" -conf Corefile
kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec:
  clusterIP: 10.96.0.10
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns-node, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
endpoints: [{addresses: ["$IP"]}]
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
YAML
# Fake GPU and TPU nodes come alive when fake-nodes.yaml is applied.
run kwok "$STATE/bin/kwok" --kubeconfig=kubeconfig --manage-all-nodes=false \
  --manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake --node-lease-duration-seconds=40

# The sandbox image: one static program that waits.
if ! complete localhost/pause:1; then
  (cd "$here/pause" && CGO_ENABLED=0 go build -ldflags '-s -w' -o "$STATE/bin/new/pause" main.go)
  printf 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n' >bin/new/Dockerfile
  buildah --storage-driver overlay bud -q -t localhost/pause:1 bin/new >/dev/null
  "$here/load.sh" localhost/pause:1
fi
until_true 60 "a node that is ready" kubectl wait --for=condition=Ready node/node-0 --timeout=5s
touch up
echo "up: KUBECONFIG=$STATE/kubeconfig"
