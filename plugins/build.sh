#!/usr/bin/env bash
# Builds the guests: target/plugins/NAME.wasm from plugins/NAME, and target/test-plugins/NAME.wasm
# from tests/plugins/NAME. An unchanged file keeps its time. With --no-tests, only the former, which
# is all that the demo needs. Other arguments are passed to cargo.
set -euo pipefail

cd "$(dirname "$0")"
root=$(cd .. && pwd)
target=wasm32-unknown-unknown
with_tests=yes
if [ "${1:-}" = --no-tests ]; then
    shift
    with_tests=
    set -- -p recruit-normalize -p recruit-rules -p recruit-dlq "$@"
fi

# Keeps local paths out of the components. (\x1f separates flags, so that paths may have spaces.)
remap="--remap-path-prefix=$root=/forebay"$'\x1f'"--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
# Searches and copies texts 16 bytes at a time: every component runtime has SIMD.
simd=-Ctarget-feature=+simd128
CARGO_ENCODED_RUSTFLAGS=$remap$'\x1f'$simd ./toolchain.sh \
    cargo build --release --locked --target "$target" --target-dir "$root/target/guests" "$@"

# put SOURCES DESTINATION
put() {
    local manifest name built cases
    mkdir -p "$2"
    for manifest in "$1"/*/Cargo.toml; do
        grep -q cdylib "$manifest" || continue # A library, such as the sdk.
        name=$(basename "$(dirname "$manifest")")
        built=$root/target/guests/$target/release/${name//-/_}.wasm
        # Cases first: a running host tests a new component with them before using it.
        cases=$1/$name/$name.cases.toml
        [ ! -f "$cases" ] || cmp -s "$cases" "$2/$name.cases.toml" || cp "$cases" "$2/"
        cmp -s "$built" "$2/$name.wasm" && continue
        # Renamed into place: a host that watches the directory never sees half a file.
        cp "$built" "$2/$name.wasm.part"
        mv "$2/$name.wasm.part" "$2/$name.wasm"
        echo "wrote ${2#"$root/"}/$name.wasm ($(wc -c <"$built") bytes)"
    done
}
put "$root/plugins" "$root/target/plugins"
[ -z "$with_tests" ] || put "$root/tests/plugins" "$root/target/test-plugins"
