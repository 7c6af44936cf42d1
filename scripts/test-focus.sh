#!/bin/sh
# Check the FOCUS export against the standard's own validator, which needs Python 3.12 and old
# libraries: an environment of its own, .venv/focus. Where no Python 3.12 is, this says so and checks
# nothing; under TALLY_REQUIRE_ALL=1 that is a failure.
set -eu
cd "$(dirname "$0")/.."

say() { echo "test-focus: $1" >&2; }
fits() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null; }

# A stamp with the lock's hash says what is in it; an installation that was cut short has none.
home=.venv/focus
want=$(cksum <requirements/focus.lock)
if [ "$(cat "$home/.lock" 2>/dev/null)" != "$want" ]; then
	python=
	for candidate in python3.12 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin/python; do
		if fits "$candidate"; then
			python=$candidate
			break
		fi
	done
	if [ -z "$python" ]; then
		say "expected Python 3.12 with venv, got none: THE FOCUS EXPORT WAS NOT CHECKED; install python3.12-venv, or 3.12 with pyenv"
		case "${TALLY_REQUIRE_ALL:-}" in
		"" | 0) exit 0 ;;
		*) exit 1 ;;
		esac
	fi
	say "installing requirements/focus.lock into $home (once; a minute, 600 MB)"
	rm -rf "$home"
	"$python" -m venv "$home"
	"$home/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/focus.lock
	echo "$want" >"$home/.lock"
fi
export FOCUS_ENVIRONMENT="$PWD/$home"
exec .venv/bin/python -m pytest tests/runs/focus_validation.py
