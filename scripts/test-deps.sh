#!/bin/sh
# What some tests need from the system: a real browser for the report, the 60,000 real pictures, a
# real Prometheus and PostgreSQL, a clock that can be set, and for `make test-cluster` containers and
# a builder of images. It needs go as well, 1.21 or newer, which fetches the toolchain that
# tests/cluster/kube/go.mod names; Debian 12 has an older one.
# Debian (or a child of it), as root; every other test runs without.
set -eu

packages="chromium dataset-fashion-mnist prometheus postgresql faketime containerd runc
    containernetworking-plugins iptables conntrack buildah mmdebstrap docker-registry openssl curl iproute2 strace"

if ! command -v apt-get >/dev/null 2>&1; then
    echo "test-deps: expected Debian's apt-get, found none; install by hand: $packages" >&2
    exit 2
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "test-deps: expected root, got $(id -un); run: sudo make test-deps" >&2
    exit 2
fi
# Tests start servers of their own: none of these is to be started, or kept, as a service.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# $packages is a list of words.
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $packages
