#!/usr/bin/env bash
# Writes the bindings of the templates anew: after a change of wit/plugin.wit.
#
# Needs wit-bindgen (`cargo install wit-bindgen-cli --version 0.63.0`), jco (`npm install
# @bytecodealliance/jco@1.15.4`), and what examples/plugins/tools.sh installs. New projects carry what this writes, so that they need
# the tools of their own language only.
set -euo pipefail

cd "$(dirname "$0")"
wit=$(cd ../../wit && pwd)

# generate ROLE WORLD
generate() {
    local role=$1 world=$2 language
    for language in c zig go typescript python; do
        rm -rf "$language/$role/bindings"
        mkdir -p "$language/$role/bindings"
    done
    # For C and Zig. The names of its types do not depend on the role.
    wit-bindgen c "$wit" --world "$world" --rename-world plugin --out-dir "c/$role/bindings"
    zig translate-c -target wasm32-wasi -lc "c/$role/bindings/plugin.h" |
        sed '\:^// /:d' >"zig/$role/bindings/plugin.zig" # Where macros came from on this machine.
    generate_go "$role" "$world"
    jco guest-types "$wit" --world-name "$world" --out-dir "typescript/$role/bindings" --quiet
    componentize-py -q -d "$wit" -w "$world" bindings "python/$role/bindings"
    # Nothing here waits for anything.
    rm -r "python/$role/bindings/componentize_py_async_support" "python/$role/bindings/poll_loop.py"
}

# What is written by hand for Go, and the runtime of its bindings, are those of the example.
generate_go() {
    local role=$1 world=$2 bindings=go/$1/bindings example=../../examples/plugins/go/bindings package
    wit-bindgen go "$wit" --world "$world" --pkg-name 'example.com/plugin/bindings' --out-dir "$bindings"
    for package in $(grep -o 'export_forebay_plugin_[a-z_]*"' "$bindings/exports/wit_exports/wit_exports.go" | tr -d '"'); do
        mkdir -p "$bindings/exports/$package"
        sed 's:row-rules-go:example.com/plugin:' "$example/exports/$package/"*.go >"$bindings/exports/$package/exports.go"
    done
}

rm -rf go/every/bindings
mkdir -p go/every/bindings
cp -r ../../examples/plugins/go/bindings/{answer.go,pkg} go/every/bindings/
generate transform transformer
generate validate validator
generate policy router
