#!/usr/bin/env bash
# Builds the guests: target/plugins/NAME.wasm from plugins/NAME, and target/test-plugins/NAME.wasm
# from tests/plugins/NAME. A file that would not change keeps its time. Arguments go to cargo.
set -euo pipefail

cd "$(dirname "$0")"
root=$(cd .. && pwd)
target=wasm32-unknown-unknown

# No paths of this machine in the components. (\x1f separates, so that paths may have spaces.)
remap="--remap-path-prefix=$root=/forebay"$'\x1f'"--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
# Texts are searched and copied 16 bytes at a time: every runtime of components has SIMD.
simd=-Ctarget-feature=+simd128
CARGO_ENCODED_RUSTFLAGS=$remap$'\x1f'$simd ./toolchain.sh \
    cargo build --release --locked --target "$target" --target-dir "$root/target/guests" "$@"

# put SOURCES DESTINATION
put() {
    local manifest name built cases
    mkdir -p "$2"
    for manifest in "$1"/*/Cargo.toml; do
        grep -q cdylib "$manifest" || continue # What they are written on.
        name=$(basename "$(dirname "$manifest")")
        built=$root/target/guests/$target/release/${name//-/_}.wasm
        # Before the component: a host tests it with its cases before it takes it up.
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
put "$root/tests/plugins" "$root/target/test-plugins"
