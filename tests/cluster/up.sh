#!/usr/bin/env bash
# One-node Kubernetes for tests, with DNS and room for fake nodes: its programs are built from Go modules once,
# then it is up in seconds. Debian, root, the programs of `make test-deps`, and go.
#   make cluster-up, then  export KUBECONFIG=~/.cache/tally-cluster/kubeconfig
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
go_release=$(go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p' || true)
[ "${go_release:-0}" -ge 21 ] || { echo "cluster: expected go 1.21 or newer, got ${go_release:+1.}${go_release:-none}; install it from go.dev/dl or a newer Debian" >&2; exit 2; }
for program in containerd runc iptables conntrack buildah openssl curl; do
  command -v "$program" >/dev/null || { echo "cluster: expected $program, got none; run: sudo make test-deps" >&2; exit 2; }
done
[ "$(id -u)" -eq 0 ] || { echo "cluster: expected root, got $(id -un); use a cluster of yours: KUBECONFIG=… make test-cluster" >&2; exit 2; }
STATE=${STATE:-$HOME/.cache/tally-cluster}
VERSION=1.34.4
KUBE=$STATE/bin/kube-v$VERSION
CONTAINERD=/run/tally-containerd/containerd.sock
IP=$(hostname -I | cut -d' ' -f1)
mkdir -p "$STATE"/{bin,pki,log,etcd,kubelet,pids}
cd "$STATE"
ready() { curl -sk https://127.0.0.1:6443/readyz 2>/dev/null | grep -q ok; }
if ready; then echo "already up: KUBECONFIG=$STATE/kubeconfig"; exit 0; fi

if [ ! -x "$KUBE" ]; then # about 6 minutes on 2 cores from an empty cache
  flags="-s -w"
  for package in component-base/version client-go/pkg/version; do
    flags+=" -X k8s.io/$package.gitVersion=v$VERSION -X k8s.io/$package.gitMajor=1 -X k8s.io/$package.gitMinor=34"
  done
  (cd "$here/kube" && CGO_ENABLED=0 go build -trimpath -ldflags "$flags" -o "$KUBE" .)
fi
printf '#!/bin/sh\nexec "%s" kubectl "$@"\n' "$KUBE" >bin/kubectl && chmod +x bin/kubectl
PATH=$STATE/bin:$PATH
for program in github.com/coredns/coredns@v1.15.0 sigs.k8s.io/kwok/cmd/kwok@v0.7.0; do
  name=${program%@*}
  [ -x "bin/${name##*/}" ] || CGO_ENABLED=0 GOBIN=$STATE/bin go install -trimpath -ldflags '-s -w' "$program"
done

run() { # run NAME COMMAND...: in the background, in its own session, logging to log/NAME.log
  local name=$1; shift
  if [ -f "pids/$name" ] && kill -0 "$(cat "pids/$name")" 2>/dev/null; then return; fi
  setsid nohup "$@" >"log/$name.log" 2>&1 &
  echo $! >"pids/$name"
}
signed() { # signed NAME SUBJECT [EXTENSIONS]: a key and a certificate from the test CA
  openssl req -newkey rsa:2048 -nodes -keyout "pki/$1.key" -out "pki/$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "pki/$1.csr" -CA pki/ca.crt -CAkey pki/ca.key -CAcreateserial -days 30 \
    -out "pki/$1.crt" -extfile <(echo "${3:-}") 2>/dev/null
}
if ! openssl x509 -checkend 86400 -noout -in pki/apiserver.crt >/dev/null 2>&1 ||
  ! openssl x509 -noout -text -in pki/apiserver.crt | grep -q "IP Address:$IP\b"; then
  rm -f pki/*
  openssl req -x509 -newkey rsa:2048 -nodes -keyout pki/ca.key -out pki/ca.crt -subj /CN=test-ca -days 30 2>/dev/null
  openssl genrsa -out pki/sa.key 2048 2>/dev/null
  openssl rsa -in pki/sa.key -pubout -out pki/sa.pub 2>/dev/null
  signed apiserver /CN=kube-apiserver \
    "subjectAltName=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost,IP:127.0.0.1,IP:10.96.0.1,IP:$IP"
  signed kubelet-client /O=system:masters/CN=kubelet-client
  token=$(openssl rand -hex 16)
  echo "$token,admin,admin,\"system:masters\"" >pki/tokens.csv
  cat >kubeconfig <<YAML
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://127.0.0.1:6443", certificate-authority: $STATE/pki/ca.crt}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
YAML
  chmod 600 kubeconfig pki/*.key pki/tokens.csv
fi

sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
mkdir -p cni
cat >cni/10-bridge.conflist <<'JSON'
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}, {"type": "loopback"}]}
JSON
# restrict_oom_score_adj: without CAP_SYS_RESOURCE runc may not lower a score, and every sandbox fails
cat >containerd.toml <<TOML
version = 2
root = "$STATE/containerd"
state = "/run/tally-containerd"
[grpc]
  address = "$CONTAINERD"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
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
containerRuntimeEndpoint: unix://$CONTAINERD
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $STATE/pki/ca.crt}}
authorization: {mode: Webhook}
YAML

# A cluster starts empty, also where the last one was not taken down but died with its machine.
{ [ -f pids/etcd ] && kill -0 "$(cat pids/etcd)" 2>/dev/null; } || rm -rf etcd
run containerd containerd --config containerd.toml
run etcd "$KUBE" etcd --data-dir etcd --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync
run apiserver "$KUBE" apiserver --etcd-servers=http://127.0.0.1:2379 --advertise-address="$IP" \
  --tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key --client-ca-file=pki/ca.crt \
  --token-auth-file=pki/tokens.csv --authorization-mode=Node,RBAC --allow-privileged=true \
  --service-account-key-file=pki/sa.pub --service-account-signing-key-file=pki/sa.key \
  --service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range=10.96.0.0/16 \
  --kubelet-preferred-address-types=InternalIP \
  --kubelet-client-certificate=pki/kubelet-client.crt --kubelet-client-key=pki/kubelet-client.key
for _ in $(seq 240); do ready && break; sleep 0.25; done
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
run coredns bin/coredns -conf Corefile
KUBECONFIG=kubeconfig kubectl apply -f - >/dev/null <<YAML
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
run kwok bin/kwok --kubeconfig=kubeconfig --manage-all-nodes=false \
  --manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake --node-lease-duration-seconds=40

# The sandbox image: one static program that waits.
if ! ctr -a $CONTAINERD -n k8s.io images ls -q | grep -q localhost/pause:1; then
  (cd "$here/pause" && CGO_ENABLED=0 go build -ldflags '-s -w' -o "$STATE/bin/pause" main.go)
  printf 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n' >bin/Dockerfile.pause
  buildah --storage-driver overlay bud -q -t localhost/pause:1 -f bin/Dockerfile.pause bin >/dev/null
  "$here/load.sh" localhost/pause:1
fi
KUBECONFIG=kubeconfig kubectl wait --for=create node/node-0 --timeout=60s >/dev/null
KUBECONFIG=kubeconfig kubectl wait --for=condition=Ready node/node-0 --timeout=60s
