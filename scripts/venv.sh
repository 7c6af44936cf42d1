#!/bin/sh
# Make .venv hold what requirements/NAME.lock says (NAME: local or dev), with uv where it is there.
# A stamp with the lock's hash says what is in it; an installation that was cut short has none.
set -eu
name=$1
cd "$(dirname "$0")/.."

case "$(uname -s)/$(uname -m)" in
Linux/x86_64 | Linux/aarch64 | Darwin/arm64) ;;
Darwin/x86_64)
	echo "tally: expected Linux or a Mac with Apple silicon, got an Intel Mac, for which TensorFlow 2.21 has no wheel; use a Linux machine or container" >&2
	exit 2
	;;
*)
	echo "tally: expected Linux or macOS, got $(uname -s) $(uname -m); on Windows use WSL 2" >&2
	exit 2
	;;
esac

stamp=.venv/.tally-$name
want=$(cat "requirements/$name.lock" pyproject.toml | cksum)
[ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && exit 0

# Two makes at once: the second waits, then finds the work done.
if command -v flock >/dev/null 2>&1 && [ -z "${TALLY_VENV_LOCKED:-}" ]; then
	mkdir -p .venv
	TALLY_VENV_LOCKED=1 exec flock .venv/.tally-lock "$0" "$name"
fi

say() { echo "tally: $1" >&2; }
begin=$(date +%s)
if [ ! -x .venv/bin/python ]; then
	python=
	for candidate in python3.11 python3; do
		if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
			python=$candidate
			break
		fi
	done
	if [ -n "$python" ] && "$python" -c 'import venv, ensurepip' 2>/dev/null; then
		"$python" -m venv .venv
	elif command -v uv >/dev/null 2>&1; then
		uv venv --quiet --allow-existing --python 3.11 .venv
	elif [ -n "$python" ]; then
		say "expected Python 3.11 with venv, got one without; apt-get install python3.11-venv"
		exit 2
	else
		say "expected Python 3.11, got $(python3 --version 2>/dev/null || echo none); install Python 3.11 (with venv) or uv"
		exit 2
	fi
fi
say "installing requirements/$name.lock into .venv (once; one to three minutes, 2 GB)"
if command -v uv >/dev/null 2>&1; then
	VIRTUAL_ENV=.venv uv pip install --quiet --require-hashes -r "requirements/$name.lock"
	VIRTUAL_ENV=.venv uv pip install --quiet --no-deps --no-build-isolation -e .
else
	.venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r "requirements/$name.lock"
	.venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
fi
echo "$want" >"$stamp"
# dev holds everything that local does
[ "$name" = dev ] && cat requirements/local.lock pyproject.toml | cksum >.venv/.tally-local
say "done in $(($(date +%s) - begin)) s"
