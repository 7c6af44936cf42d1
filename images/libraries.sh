#!/bin/sh
# libraries.sh LOCK: the lock's libraries into /opt/tally, by the pip of the untrimmed base, which is
# mounted at /whole for this step only, and the bill of materials beside them.
set -eu
cd /opt/tally
export PYTHONHASHSEED=0
python3 -m venv --without-pip .
# where Debian and where Python itself keep the wheel of pip
for pip in /whole/usr/share/python-wheels/pip-*.whl /whole/usr/local/lib/python3.11/ensurepip/_bundled/pip-*.whl; do
	[ ! -e "$pip" ] || PYTHONPATH=$pip
done
export PYTHONPATH="${PYTHONPATH:?expected pip in the base}"
install() {
	bin/python -m pip install -qq --no-cache-dir --no-compile --no-deps --disable-pip-version-check \
		--root-user-action ignore --require-hashes --no-build-isolation -r "$1"
}
# What some are built with comes from the lock too, not from whatever is newest.
sed -e :a -e '/\\$/{N;s/\\\n//;ba' -e '}' "$1" | grep -E '^(packaging|setuptools|wheel)==' >/tmp/building.lock || true
install /tmp/building.lock
install "$1"
rm /tmp/building.lock
unset PYTHONPATH
# the sources are found as an installed package would be, and `tally` by its name
echo /app >lib/python3.11/site-packages/tally.pth
printf '#!/opt/tally/bin/python\nfrom tally.cli import main\n\nif __name__ == "__main__":\n    main()\n' >bin/tally
chmod +x bin/tally

# Nobody in a pod compiles, checks types or tests: TensorFlow's C++ headers (280 MB), clang, C and
# Cython sources, stubs, the libraries' own tests.
bin/python - <<'END'
import pathlib, shutil
site = pathlib.Path("lib/python3.11/site-packages")
for name in ("tensorflow/include", "tensorflow/xla_aot_runtime_src", "clang", "sqlalchemy/testing"):
    shutil.rmtree(site / name, ignore_errors=True)
for suffix in ("c", "h", "pyi", "pyx", "pxd", "pxi"):
    for path in site.rglob(f"*.{suffix}"):
        path.unlink()
for library in ("numpy", "scipy", "sklearn"):
    for path in list((site / library).rglob("tests")):
        shutil.rmtree(path, ignore_errors=True)
END
# Compiled here, since no pod can write bytecode; by hash, since times of files do not survive every
# image store. Some libraries hold files of other Pythons, which do not compile.
bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash lib >/dev/null 2>&1 || true
bin/python sbom.py >sbom.cdx.json
