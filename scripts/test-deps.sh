#!/bin/sh
# What some tests need from the system: a real browser for the report, the 60,000 real pictures.
# Debian (or a child of it), as root; every other test runs without.
set -eu

packages="chromium dataset-fashion-mnist"

if ! command -v apt-get >/dev/null 2>&1; then
    echo "test-deps: expected Debian's apt-get, found none; install by hand: $packages" >&2
    exit 2
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "test-deps: expected root, got $(id -un); run: sudo make test-deps" >&2
    exit 2
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# $packages is a list of words.
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $packages
