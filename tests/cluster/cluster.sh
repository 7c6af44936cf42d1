# shellcheck shell=bash
# What up.sh, down.sh, load.sh and run.sh share; sourced by them. Where the cluster is, what runs of it,
# and how to be rid of it from whatever is left. There are no pid files: numbers are given anew.
STATE=$(realpath -m "${STATE:-/var/cache/tally-cluster}")
RUN=/run/tally-containerd # a socket's path may have 107 characters
KUBE=$STATE/bin/kube-v1.34.4
say() { echo "cluster: $1" >&2; }
stop() { say "$1"; exit 2; }
client() { ctr -a $RUN/containerd.sock -n k8s.io "$@"; }
ready() { curl -s --cacert "$STATE/pki/ca.crt" https://127.0.0.1:6443/readyz 2>/dev/null | grep -q ok; }

lock() { # one at a time changes the cluster, and what it started in the foreground, also when it was killed
  mkdir -p "$STATE" && exec 9>"$STATE/lock" || exit 2
  flock -n 9 && return
  say "waiting for another up.sh or down.sh"
  flock 9
}

# names of folders and of cgroups that are of our containers and pods, and of nobody else's
made() {
  find "$STATE"/containerd/io.containerd.grpc.v1.cri/{sandboxes,containers} $RUN/io.containerd.runtime.v2.task/k8s.io \
    "$STATE/kubelet/pods" -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null | grep -xE '[0-9a-f]{64}|[0-9a-f-]{36}' || true
}

# "pid name" of each process of the cluster: its own programs but kubectl, containerd's by what they are
# and what they were told, and all that runs in a pod
ours() {
  local process words
  find /proc/[0-9]*/exe -maxdepth 0 \( -lname "$STATE/bin/*" -o -lname '*/containerd' -o -lname '*/containerd-shim-*' \
    -o -lname '*/runc' -o -lname '/memfd:runc*' -o -lname '*/ctr' \) -printf '%h\n' 2>/dev/null |
    while read -r process; do
      words=()
      mapfile -d '' -t words 2>/dev/null <"$process/cmdline" || true
      case "${words[*]} " in
      "$KUBE kubectl "*) ;;
      "$KUBE "*) echo "${process#/proc/} ${words[1]}" ;;
      "$STATE/bin/"* | *"$RUN/"* | *" $STATE/containerd.toml "*) echo "${process#/proc/} ${words[0]##*/}" ;;
      esac
    done
  # shellcheck disable=SC2062
  made | grep -lFf - /proc/[0-9]*/cgroup 2>/dev/null | sed 's#/proc/\(.*\)/cgroup#\1 pod#' || true
}

# whether up.sh came to its end and nothing has ended since
whole() {
  local name running
  [ -e "$STATE/up" ] && ready || return 1
  running=" $(ours | cut -d' ' -f2 | tr '\n' ' ')"
  for name in containerd etcd apiserver manager scheduler kubelet proxy coredns kwok; do
    [[ $running = *" $name "* ]] || return 1
  done
}

mounted() { # what is mounted at and below our folders, the deepest first
  cut -d' ' -f5 /proc/self/mountinfo | grep -E "^($STATE/(kubelet|containerd)|$RUN)(/|$)" | sort -r || true
}

# Nothing is left of the cluster but its programs, images and logs. Killing needs no order and no
# goodbye: what is kept is written beside and moved into place, or by containerd in transactions.
clear_ruins() {
  local pids path
  rm -f "$STATE/up"
  for _ in $(seq 100); do
    pids=$(ours | cut -d' ' -f1)
    [ -n "$pids" ] || break
    # shellcheck disable=SC2086
    kill -9 $pids 2>/dev/null || true
    sleep 0.1
  done
  [ -z "$pids" ] || stop "expected what was killed to end within 10 s, got pid ${pids//$'\n'/, } still there; restart the machine"
  for path in $(mounted); do umount -l "$(printf %b "$path")" 2>/dev/null || true; done
  # what is mounted may be somebody's folder, which the rm below would empty
  path=$(mounted | head -n 1)
  [ -z "$path" ] || stop "expected nothing to be mounted below $STATE and $RUN, got $path; umount it"
  find /sys/fs/cgroup -depth -type d 2>/dev/null | grep -Ff <(made) | xargs -r rmdir 2>/dev/null || true
  sed 's#^unix://##' $RUN/io.containerd.runtime.v2.task/*/*/address 2>/dev/null | xargs -r rm -f || true # shims' sockets
  if ip -4 -o address show cni0 2>/dev/null | grep -qF ' 10.88.0.1/16 '; then ip link delete cni0; fi
  rm -f /var/lib/cni/results/pods-*
  # a chain for each address that a pod had
  { echo '*nat'; iptables-save -t nat 2>/dev/null | awk '
      !/"name: \\"pods\\" id: / { next }
      /^-A POSTROUTING / { sub("-A", "-D"); print }
      /^-A CNI-/ && !seen[$2]++ { chains = chains "-F " $2 "\n-X " $2 "\n" }
      END { printf "%s", chains }'; echo COMMIT; } | iptables-restore --noflush
  rm -rf "$STATE"/{etcd,kubelet,pki,kubeconfig,load.*,bin/new,containerd/io.containerd.grpc.v1.cri} $RUN
}

# the images of which containerd has all, unpacked; it fails where any is not to be read, and with -q it
# names some that are not
whole_images() { client images check 2>/dev/null | awk '$4 == "complete" && $NF == "true" { print $1 }' || true; }
complete() { whole_images | grep -xF "$1" >/dev/null; }
