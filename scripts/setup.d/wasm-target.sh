# shellcheck shell=bash disable=SC2034,SC2154 # setup, which sources it, has the variables
# The standard library for the filter's target: the toolchain's own, by rustup, or built from
# Debian's copy of its source into a folder that rustc is given as a second sysroot.

target=wasm32-wasip1
sysroot=""

provide_wasm_target() {
  local rust recipe least
  rust=$(rustc -vV 2>&1 && cargo --version 2>&1) ||
    fail "rustc and cargo are not on the PATH or do not work: ${rust##*$'\n'}" \
      "install Rust as https://rustup.rs says, then run this again"
  rust=${rust%$'\n'*}
  least=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  at_least "$least" "$rust" ||
    fail "meliproxy needs Rust $least or later; this is ${rust%%$'\n'*}" "rustup update stable"
  type -P cc >/dev/null ||
    fail "there is no C compiler, with which Rust links" \
      "install one (Debian: apt install gcc libc6-dev), then run this again"

  toolchain_has_target && return
  recipe="std $target of $rust"
  sysroot=$tools/opt/$target
  in_place "$target" "$recipe" "" && return
  if type -P rustup >/dev/null; then
    step "adding $target with rustup (20 MB, about 5 s)"
    if try timeout --foreground 300 rustup target add "$target" && toolchain_has_target; then
      sysroot=""
      brought=1
      step_done
      return
    fi
    say "    rustup could not ($(grep -m 1 '^error' "$log" || echo "no answer in time"))"
    say "    so it is built from source, into $tools"
  fi
  build_sysroot "$rust"
  settle "$target" "$recipe" ""
}

toolchain_has_target() {
  compgen -G "$(rustc --print target-libdir --target "$target")/libstd-*.rlib" >/dev/null
}

# build_sysroot RUST: RUST is the output of `rustc -vV`; the source must be of that very version.
build_sysroot() {
  local release commit source library into=$work/$target/lib/rustlib/$target/lib flags
  local by_hand="where rustup can download: rustup target add $target, then run this again"
  local wasi=$work/source/usr/lib/wasm32-wasi
  [[ $work != *[[:space:]]* ]] || fail "the folder $tools has a space in its name, which the flags \
that cargo hands to rustc cannot" "give another folder with MELIPROXY_TOOLS=DIR, or $by_hand"
  release=$(sed -n 's/^release: //p' <<<"$1")
  commit=$(sed -n 's/^commit-hash: //p' <<<"$1")

  open_backports "$by_hand"
  step "bringing the source of Rust $release and wasi-libc from Debian (46 MB, about 15 s)"
  choose_source "$release" "$by_hand"
  mkdir -p -- "$work/source" "$into/self-contained"
  run "$by_hand" env -C "$work/source" apt-get -q download "rust-src=$source" wasi-libc
  run "$by_hand" unpack "$work"/source/rust-src_*.deb '*/library/*'
  run "$by_hand" unpack "$work"/source/wasi-libc_*.deb '*/wasm32-wasi*/*.[ao]'
  step_done

  step "building the standard library for $target (about 30 s on 2 cores)"
  library=$(echo "$work"/source/usr/src/rustc-*/library)
  # As rustup's own is built, so that its paths tell nothing of this machine.
  flags=(-Zforce-unstable-if-unmarked -Cembed-bitcode=yes
    "--remap-path-prefix=$library=/rustc/$commit/library"
    "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo")
  run "$by_hand" env RUSTC_BOOTSTRAP=1 __CARGO_DEFAULT_LIB_METADATA=std \
    CARGO_TARGET_DIR="$work/target" CARGO_ENCODED_RUSTFLAGS="$(IFS=$'\x1f'; echo "${flags[*]}")" \
    cargo build --locked --release --target "$target" -p sysroot \
    --manifest-path "$library/Cargo.toml"
  mv -- "$work/target/$target/release/deps"/*.rlib "$into/"
  mv -- "$wasi"/{crt1-command.o,crt1-reactor.o,libc.a} "$into/self-contained/"
  rm -rf -- "$work/source" "$work/target"
  echo 'pub fn main() { println!("{:?}", std::time::SystemTime::now()); }' >"$work/probe.rs"
  run "$by_hand" rustc --sysroot "$work/$target" --target "$target" \
    -o "$work/probe.wasm" "$work/probe.rs"
  step_done
}

# choose_source RELEASE BY_HAND: sets `source` to the version of Debian's rust-src for RELEASE.
choose_source() {
  local versions others
  versions=$(apt-cache madison rust-src | cut -d '|' -f 2 | tr -d ' ')
  source=$(grep -m 1 -F -- "$1+" <<<"$versions") || {
    others=$(cut -d + -f 1 <<<"$versions")
    fail "rustc is $1, and Debian's backports have the source of ${others//$'\n'/, } only" \
      "$2; or use one of those versions of Rust"
  }
}

# unpack DEB PATTERN: only the files that match, into the folder of the package.
unpack() {
  dpkg-deb --fsys-tarfile "$1" | tar -x -C "${1%/*}" --wildcards "$2"
}

wasm_env() {
  [[ -n $sysroot ]] || return 0
  printf 'export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS=%q\n' "--sysroot $sysroot"
  # shellcheck disable=SC2016 # expanded when it is sourced
  echo '[ -z "${RUSTFLAGS:-}" ] || echo "unset RUSTFLAGS: it makes cargo drop --sysroot" >&2'
}
