#!/usr/bin/env bash
# Regenerates the bindings of the templates, after a change of wit/plugin.wit.
#
# Needs wit-bindgen (`cargo install wit-bindgen-cli --version 0.63.0`), jco (`npm install
# @bytecodealliance/jco@1.15.4`), and the tools that examples/plugins/tools.sh installs. New
# projects include the bindings, so that they need only the tools of their own language.
set -euo pipefail

cd "$(dirname "$0")"
wit=$(cd ../../wit && pwd)

# jco's types are those of another engine. QuickJS passes 64-bit integers as numbers, lists of numbers
# as arrays but for bytes, and null for what is absent; it takes typed arrays as well.
as_the_engine='s/bigint/number/; s/\| undefined/| null/; s/(\w+\?): (.*),$/\1: \2 | null,/
    s/only within \+-2\^53\./& Here, reading or returning one beyond that is an error./
    s/\): (Float32|Uint32)Array;/): Array<number>;/; s/(\w+: Float32Array)\b/\1 | Array<number>/'

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
        sed '\:^// /:d' >"zig/$role/bindings/plugin.zig" # Local paths of macros.
    generate_go "$role" "$world"
    jco guest-types "$wit" --world-name "$world" --out-dir "typescript/$role/bindings" --quiet
    find "typescript/$role/bindings" -name '*.d.ts' -exec sed -i -E "$as_the_engine" {} +
    componentize-py -q -d "$wit" -w "$world" bindings "python/$role/bindings"
    # No export is asynchronous.
    rm -r "python/$role/bindings/componentize_py_async_support" "python/$role/bindings/poll_loop.py"
}

# The hand-written files for Go and the runtime of its bindings are copied from the example.
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
