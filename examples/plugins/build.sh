#!/usr/bin/env bash
# Builds the plugins of this directory, twice each: target/examples/NAME.wasm imports nothing but
# the interface, target/examples/NAME-wasi.wasm is the language's standard build, which
# imports wasi:*. Unchanged plugins are not rebuilt.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
root=$(cd ../.. && pwd)
forebay=$root/target/release/forebay
path=$(./tools.sh)
eval "$path"
export CARGO_TARGET_DIR=$root/target/guests

say() { echo "examples: $*" >&2; }

# up_to_date PROJECT OUTPUT
up_to_date() {
    local newer
    [ -e "$2" ] || return 1
    newer=$(find "$1" "$root/wit" "$root/plugins/sdk" "$root/host/src/project" ./*.wat ./*.sh ./*.txt ./*.json \
        -type f -newer "$2" -not -path '*/build/*' -not -path '*cache*' -print -quit)
    [ -z "$newer" ]
}

# build PROJECT OUTPUT [OPTION]
build() {
    up_to_date "$1" "$2" || "$forebay" plugin build "$1" --output "$2" "${@:3}"
}

# The target of Rust's standard build is not part of its toolchain.
has_wasip2() {
    local limit
    [ -d "$(rustc --print sysroot)/lib/rustlib/wasm32-wasip2" ] && return
    command -v rustup >/dev/null || return 1
    # Without access to targets, rustup may hang.
    limit=$(command -v timeout || command -v gtimeout || true)
    ${limit:+"$limit" -k 1 20} rustup target add wasm32-wasip2 </dev/null >&2
}

for manifest in */forebay-plugin.toml; do
    project=$(dirname "$manifest")
    output=$root/target/examples/row-rules-$project
    build "$project" "$output.wasm" --stub-wasi
    if [ "$project" = rust ] && ! has_wasip2; then
        say "left out row-rules-rust-wasi: rustup target add wasm32-wasip2 does not work here"
        continue
    fi
    build "$project" "$output-wasi.wasm" --wasi
done
