#!/bin/sh
# Looks for misspelled words in every file that git knows; typos.toml says what is spelled so on
# purpose. The checker is installed into target/lint-tools the first time, and again when
# requirements.txt changes. PYTHON names another interpreter than python3.
set -eu
cd "$(dirname "$0")/../.."
tools=target/lint-tools
requirements=tests/lint/requirements.txt

# The copy is made last, so it says that all of the file is installed.
if ! cmp -s "$requirements" "$tools/requirements.txt"; then
    rm -rf "$tools"
    mkdir -p "$tools"
    # Not a venv: some distributions package what makes one apart from pip.
    "${PYTHON:-python3}" -m pip install --quiet --disable-pip-version-check \
        --root-user-action=ignore --no-deps --require-hashes --target "$tools" -r "$requirements"
    cp "$requirements" "$tools/requirements.txt"
fi
exec "$tools/bin/typos" "$@"
