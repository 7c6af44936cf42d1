#!/bin/sh
# Build the images: localhost/tally:VERSION of a run's pods and localhost/tally-meter:VERSION, each
# with its content's tag too, VERSION-CONTENT. With buildah or podman the same sources, lock and base
# make the same image id.
#   ACCELERATOR=cpu  or gpu, tpu: the pods' image is then localhost/tally-gpu, localhost/tally-tpu
#   REGISTRY=… PUSH=1  push VERSION-CONTENT there, log in before; prints what names them by digest
#   BUILDER=…        buildah, podman or docker; without it the first of them that is there
#   BASE=…           another base with Python 3.11 and venv, from Debian; by digest to pin it. Where
#                    the usual one cannot be pulled, one is made by mmdebstrap (Debian, root)
set -eu
cd "$(dirname "$0")/.."
usual=docker.io/library/python:3.11-slim-bookworm
own=localhost/tally-base:bookworm
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' tally/__init__.py)
# of all files and of the images: 1970, as most reproducible images say
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-0}"
export STORAGE_DRIVER="${STORAGE_DRIVER:-overlay}" DOCKER_BUILDKIT=1

say() { echo "images: $1" >&2; }
stop() { say "$1"; exit 2; }
# of the name expected got: one line for a value that does not fit
unfit() { stop "expected $1 to be $2, got '$3'"; }

case ${ACCELERATOR:=cpu} in
cpu) lock=local worker=tally ;;
gpu | tpu) lock=worker-$ACCELERATOR worker=tally-$ACCELERATOR ;;
*) unfit ACCELERATOR "cpu, gpu or tpu" "$ACCELERATOR" ;;
esac
case ${PUSH:=} in "" | 1) ;; *) unfit PUSH "1 or nothing" "$PUSH" ;; esac
case ${REGISTRY:=} in
*[!a-z0-9.:/_-]* | /* | */ | *//*) unfit REGISTRY "like registry.example/team" "$REGISTRY" ;;
"") [ -z "$PUSH" ] || stop "expected REGISTRY with PUSH=1, got none; pass REGISTRY=registry.example/team" ;;
*) [ -n "$PUSH" ] || stop "expected PUSH=1 with REGISTRY, got none; without both nothing is pushed" ;;
esac

# docker's client may be there without its server
answers() { command -v "$1" >/dev/null 2>&1 && { [ "$1" != docker ] || docker info >/dev/null 2>&1; }; }
case ${BUILDER:=} in
"") for BUILDER in buildah podman docker ""; do [ -n "$BUILDER" ] && answers "$BUILDER" && break; done ;;
buildah | podman | docker) answers "$BUILDER" || stop "expected BUILDER $BUILDER to answer, got nothing; install or start it" ;;
*) unfit BUILDER "buildah, podman or docker" "$BUILDER" ;;
esac
[ -n "$BUILDER" ] || stop "expected buildah, podman or docker, got none that answers; run: sudo make test-deps"

has() { [ -n "$("$BUILDER" images -q "$1" 2>/dev/null)" ]; }
# build IMAGE DOCKERFILE CONTEXT [OPTIONS]
build() {
	image=$1 file=$2 context=$3
	shift 3
	case $BUILDER in
	docker) set -- --build-arg "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH" "$@" ;;
	*)
		set -- --layers --isolation chroot --timestamp "$SOURCE_DATE_EPOCH" "$@"
		# A proxy with a CA of its own may stand before the package index: what pip needs on this
		# machine, for the build only.
		for path in /etc/ssl/certs /etc/pip.conf; do
			[ ! -e "$path" ] || set -- -v "$path:$path:ro" "$@"
		done
		;;
	esac
	"$BUILDER" build -q "$@" -t "$image" -f "$file" "$context" >/dev/null
}

base=${BASE:-}
if [ -z "$base" ]; then
	base=$usual
	has "$usual" || timeout 300 "$BUILDER" pull -q "$usual" >/dev/null 2>&1 || base=$own
fi
if [ "$base" = "$own" ] && ! has "$own"; then
	say "no registry: a base from Debian's packages"
	command -v mmdebstrap >/dev/null 2>&1 || stop "expected mmdebstrap to make a base, got none; run: sudo make test-deps, or pass BASE"
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$work/base.tar"
	printf 'FROM scratch\nADD base.tar /\n' >"$work/Dockerfile"
	build "$own" "$work/Dockerfile" "$work"
fi

# push IMAGE NAME: prints registry/name@digest
push() {
	there=$REGISTRY/$2:$tag
	if [ "$BUILDER" = docker ]; then
		docker tag "$1" "$there"
		docker push -q "$there" >&2
		docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$there" | grep "^$REGISTRY/$2@"
	else
		digest=$(mktemp)
		"$BUILDER" push -q --digestfile "$digest" "$1" "docker://$there" >&2
		echo "$REGISTRY/$2@$(cat "$digest")"
		rm "$digest"
	fi
}

for kind in worker meter; do
	begin=$(date +%s)
	case $kind in worker) name=$worker ;; *) name=tally-meter ;; esac
	# of which sources it is: what a compiled pipeline expects of it
	tag=$version-$(PYTHONPATH=. python3 -m tally.content "$kind")
	image=localhost/$name:$version
	set -- --build-arg "BASE=$base"
	[ "$kind" = meter ] || set -- "$@" --build-arg "LOCK=$lock"
	build "$image" "images/$kind.Dockerfile" . "$@"
	"$BUILDER" tag "$image" "localhost/$name:$tag"
	size=$("$BUILDER" images --format '{{.Size}}' "$image" | head -n 1)
	say "localhost/$name:$tag, $size, from $base by $BUILDER in $(($(date +%s) - begin)) s"
	[ -n "$PUSH" ] || continue
	pinned=$(push "$image" "$name")
	case $kind in worker) echo "export TALLY_IMAGE=$pinned" ;; *) echo "export IMAGES=localhost/tally-meter=$pinned" ;; esac
done
