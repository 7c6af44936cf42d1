#!/bin/sh
# pytest-xdist 3.8.0 with pytest 9.2.0 and execnet 2.1.2.
#
# Guessed: `python -W error -m pytest -n 2` asks of its tests what `python -W error -m pytest` does, and
# `python -O` as well: multiprocessing hands an interpreter's flags on to its workers.
# Seen: a worker is a bare `python -u -c`, with none of -W, -O and -X. A test that warns failed under
# -W error and passed with -n 2; code whose assert -O leaves out passed and failed with -n 2. Nothing is
# said, so a series that went over to -n no longer tests what its command names.
# So: by the environment (PYTHONWARNINGS=error, PYTHONOPTIMIZE=1), which workers inherit, or pytest's own
# -W error after -m pytest.
#
# Fails if any of the nine runs ends otherwise.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q --disable-pip-version-check pytest==9.2.0 pytest-xdist==3.8.0 execnet==2.1.2
mkdir "$work/tests"
cat >"$work/tests/checked.py" <<'EOF'
def paid(usd):
    assert usd >= 0
    return usd
EOF
cat >"$work/tests/test_warns.py" <<'EOF'
import warnings


def test_warns():
    warnings.warn("the old name", DeprecationWarning)
EOF
cat >"$work/tests/test_optimised.py" <<'EOF'
import checked


def test_an_assert_is_left_out():
    checked.paid(-1)
EOF
cat >"$work/tests/test_developed.py" <<'EOF'
import sys


def test_development_mode():
    assert sys.flags.dev_mode
EOF
cd "$work/tests"
ended() { # the file, then the command
  file=$1
  shift
  if env "$@" -q -p no:cacheprovider "$file" >"$work/log" 2>&1; then how=passed; else how=failed; fi
  grep -q "^1 $how" "$work/log" || { cat "$work/log"; exit 1; }
  echo "$how: $*"
}
unset PYTHONWARNINGS PYTHONOPTIMIZE PYTHONDEVMODE || true
PATH="$work/venv/bin:$PATH"
{
  ended test_warns.py python -W error -m pytest
  ended test_warns.py python -W error -m pytest -n 2
  ended test_warns.py PYTHONWARNINGS=error python -m pytest -n 2
  ended test_warns.py python -m pytest -W error -n 2
  ended test_optimised.py python -O -m pytest
  ended test_optimised.py python -O -m pytest -n 2
  ended test_optimised.py PYTHONOPTIMIZE=1 python -m pytest -n 2
  ended test_developed.py python -X dev -m pytest
  ended test_developed.py python -X dev -m pytest -n 2
} | tee "$work/out"
cat >"$work/expected" <<'EOF'
failed: python -W error -m pytest
passed: python -W error -m pytest -n 2
failed: PYTHONWARNINGS=error python -m pytest -n 2
failed: python -m pytest -W error -n 2
passed: python -O -m pytest
failed: python -O -m pytest -n 2
passed: PYTHONOPTIMIZE=1 python -m pytest -n 2
passed: python -X dev -m pytest
failed: python -X dev -m pytest -n 2
EOF
cmp "$work/out" "$work/expected"
echo "as described"
