#!/usr/bin/env bash
# Runs a command with a Rust toolchain that can build WebAssembly components:
#
#     plugins/toolchain.sh cargo build --release --target wasm32-unknown-unknown
#
# The linker, wasm-component-ld, is part of rustup's toolchain. The target's standard library
# is the first of these that is available:
#   1. the one in the current toolchain,
#   2. the one that `rustup target add` fetches within 20 s (a failure is remembered for a day),
#   3. one built from Debian's packages rustc-web and rust-web-src, without installing anything:
#      apt downloads the packages, and cargo their dependencies, by the lock file in them.
# The script writes only to rustup's directory and ~/.cache/forebay.
set -euo pipefail

target=wasm32-unknown-unknown
oldest=1.88 # as in Cargo.toml: what wit-bindgen needs
cache=${XDG_CACHE_HOME:-$HOME/.cache}/forebay
advice="no standard library for $target; run: rustup target add $target"

say() { echo "toolchain: $*" >&2; }
die() {
    say "$@"
    exit 1
}

has_target() { compgen -G "$1/lib/rustlib/$target/lib/libstd-*.rlib" >/dev/null; }

# The newest toolchain that `build_debian` has finished, if any.
built_debian() { compgen -G "$cache/wasm-toolchain-*/rustc" | sort -V | tail -n 1; }

fetch_with_rustup() {
    local marker limit
    marker=$cache/no-$target-for-$(basename "$sysroot")
    command -v rustup >/dev/null || return 1
    if [ -n "$(find "$marker" -mtime -1 2>/dev/null)" ]; then
        say "rustup could not add $target less than a day ago; not trying again (rm '$marker')"
        return 1
    fi
    # rustup may hang if it cannot fetch the target.
    limit=$(command -v timeout || command -v gtimeout || true)
    say "rustup target add $target (20 s at most)"
    if ${limit:+"$limit" -k 1 20} rustup target add "$target" </dev/null >&2 && has_target "$sysroot"; then
        return 0
    fi
    mkdir -p "$cache" && touch "$marker"
    return 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Version of a package that apt would install.
candidate() { apt-cache policy "$1" | sed -n 's/^  Candidate: \([0-9].*\)/\1/p'; }

# Runs in a subshell, so that it can clean up on exit.
build_debian() (
    export LC_ALL=C # apt's output is parsed below
    if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then die "$advice"; fi
    version=$(candidate rustc-web)
    if [ -z "$version" ]; then
        say "apt does not know rustc-web: apt-get update"
        as_root apt-get -qq update || true
        version=$(candidate rustc-web)
    fi
    if [ -z "$version" ] || ! dpkg --compare-versions "$version" ge "$oldest"; then
        say "apt has rustc-web ${version:-(none)}; $oldest or later is needed"
        die "$advice"
    fi

    say "building the standard library for $target from Debian's rustc-web $version (once, about 140 MB and 2 minutes)"
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/unfinished.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir "$work/debs" "$work/prefix"
    release=$(cut -d. -f1,2 <<<"$version")
    packages=(rustc-web libstd-rust-web-dev "libstd-rust-web-$release" rust-web-src)
    # LLVM has its own version, and may need libraries that are not installed.
    llvm=$(apt-cache depends "libstd-rust-web-$release=$version" | sed -n 's/^ *Depends: \(libllvm.*\)/\1/p')
    plan=$(apt-get -s install --no-install-recommends "$llvm")
    mapfile -t missing < <(awk '/^Inst/ && $3 !~ /^\[/ { print $2 }' <<<"$plan")
    cd "$work/debs"
    apt-get -qq download "${packages[@]/%/=$version}" "${missing[@]}" </dev/null
    for deb in *.deb; do dpkg -x "$deb" "$work/prefix"; done
    finish_debian "$work"
    # Another run may have finished first; its result is just as good.
    mv -T "$work/prefix" "$cache/wasm-toolchain-$version" || [ -n "$(built_debian)" ]
) >&2

# Turns the packages in WORK/prefix into a toolchain that needs no unstable options.
finish_debian() {
    local work=$1 prefix=$1/prefix deps flags
    cat >"$prefix/rustc" <<'WRAPPER'
#!/bin/sh
prefix=${0%/*}
LD_LIBRARY_PATH=$(echo "$prefix"/usr/lib/*-linux-gnu)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
exec "$prefix/usr/bin/rustc" "$@"
WRAPPER
    chmod +x "$prefix/rustc"

    # -Zbuild-std builds the library together with a crate, so give it an empty one.
    mkdir -p "$work/empty/src"
    printf '#![no_std]\n' >"$work/empty/src/lib.rs"
    printf '[package]\nname = "empty"\nedition = "2024"\n[workspace]\n' >"$work/empty/Cargo.toml"
    cd "$work/empty"
    # Bitcode, so that guests can be built with LTO; no local paths. \x1f separates flags.
    flags=-Cembed-bitcode=yes$'\x1f'--remap-path-prefix=$work=/rustc
    flags+=$'\x1f'--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo
    # Not rustup's cargo, which would choose the toolchain by directory.
    RUSTC=$prefix/rustc RUSTC_BOOTSTRAP=1 CARGO_ENCODED_RUSTFLAGS=$flags \
        "$sysroot/bin/cargo" build --release --target "$target" --target-dir "$work/target" -Zbuild-std=std,panic_abort
    deps=$work/target/$target/release/deps
    rm -f "$deps"/libempty-*
    mkdir -p "$prefix/usr/lib/rustlib/$target/lib"
    cp "$deps"/*.rlib "$prefix/usr/lib/rustlib/$target/lib/"
    rm -rf "$prefix/usr/src" "$prefix/usr/lib/rustlib/src"
}

[ $# -gt 0 ] || die "usage: toolchain.sh COMMAND [ARGUMENT...]"
command -v rustc >/dev/null || die "no rustc: install Rust with rustup, https://rustup.rs"
sysroot=$(rustc --print sysroot)
linkers=$(compgen -G "$sysroot/lib/rustlib/*/bin/wasm-component-ld" || true)
[ -n "$linkers" ] || die "no wasm-component-ld in $sysroot: install Rust with rustup, https://rustup.rs"
linkers=$(dirname "$linkers")

if ! has_target "$sysroot"; then
    if [ -z "$(built_debian)" ] && ! fetch_with_rustup; then
        build_debian
    fi
    if ! has_target "$sysroot"; then
        RUSTC=$(built_debian)
        export RUSTC
    fi
fi
export PATH="$linkers:$linkers/gcc-ld:$PATH" # gcc-ld: wasm-ld
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-component-ld
exec "$@"
