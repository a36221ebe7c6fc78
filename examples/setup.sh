#!/bin/sh
# Creates target/venv with the packages of the sample servers in Python. Does nothing if it exists
# already. PYTHON selects an interpreter other than python3.
set -eu
cd "$(dirname "$0")/.."
venv=target/venv
python=${PYTHON:-python3}
requirements=examples/requirements.txt

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    echo "the sample servers need Python 3.10 or newer; $python is $("$python" -V)" >&2
    exit 1
}
# The copy is made last, so it proves that everything in the file is installed.
if cmp -s "$requirements" "$venv/requirements.txt" && "$venv/bin/python" -c '' 2>/dev/null; then
    exit 0
fi
rm -rf "$venv"
mkdir -p target
# Some distributions package pip separately from venv: then the outer pip installs into it.
if "$python" -m venv "$venv" >/dev/null 2>&1; then
    set -- "$venv/bin/python" -m pip install
else
    rm -rf "$venv"
    "$python" -m venv --without-pip "$venv"
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
    set -- "$python" -m pip install --target "$site"
fi
"$@" --quiet --disable-pip-version-check --require-hashes -r "$requirements"
cp "$requirements" "$venv/requirements.txt"
