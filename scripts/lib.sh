# shellcheck shell=bash disable=SC2034 # the variables are for those who source it
# What the scripts share: where things are, how they say what they do and how they fail, and how they build.

root=$(cd -- "${BASH_SOURCE[0]%/*}/.." && pwd)
tools=$(realpath -m -- "${MELIPROXY_TOOLS:-$root/.tools}")
# Cargo runs in the repository, but a relative folder was meant from where the script was called.
CARGO_TARGET_DIR=$(realpath -m -- "${CARGO_TARGET_DIR:-$root/target}")
export CARGO_TARGET_DIR
programs=$CARGO_TARGET_DIR/tools
log=/dev/null # output of the last command given to `run` or `try`
step="getting ready"
step_began=$SECONDS
pulse=

say() { printf '%s\n' "$*" >&2; }

# step LABEL: says what is done now; the label tells roughly how long it takes.
step() {
  step=$1 step_began=$SECONDS
  say "==> $step"
}

step_done() { say "    done in $((SECONDS - step_began)) s"; }

# perform LABEL COMMAND…: a step that shows all its command puts out; ends the script if it fails.
perform() {
  step "$1"
  "${@:2}" || fail "the command did not succeed" "read its output above; run it alone: ${*:2}"
  step_done
}

# fail WHY WHAT_TO_DO [LOG]: names the step, shows the end of what its command put out, and ends
# the script.
fail() {
  say ""
  say "FAILED: $step"
  if [[ -s ${3:-} ]]; then
    say "  last output (all of it: $3):"
    tail -n 12 -- "$3" | cut -c -200 | sed 's/^/    | /' >&2
  fi
  say "  why:        $1"
  say "  what to do: $2"
  exit 1
}

# run WHAT_TO_DO COMMAND…: runs it with its output in the log; ends the script if it fails.
run() {
  local status=0
  try "${@:2}" || status=$?
  ((status == 0)) || fail_as_logged "the command ended with status $status" "$1"
}

# try COMMAND…: like `run`, but leaves a failure to the caller. Gives a sign of life every 10 s.
try() {
  local status=0 silence
  # Reading a pipe nobody writes to waits without a `sleep`, which would outlive this script.
  exec {silence}<> <(:)
  # Descriptor 9 is the lock of setup: what a killed setup leaves behind must not hold it.
  while ! read -rt 10 -u "$silence" && kill -0 $$ 2>/dev/null; do
    say "    … still at it after $((SECONDS - step_began)) s"
  done 9>&- &
  pulse=$!
  "$@" >"$log" 2>&1 9>&- || status=$?
  stop_pulse
  exec {silence}>&-
  return "$status"
}

stop_pulse() {
  [[ -z $pulse ]] || { kill "$pulse"; wait "$pulse"; } 2>/dev/null || true
  pulse=
}

# fail_as_logged WHY WHAT_TO_DO: `fail`, unless the log tells a plainer reason.
fail_as_logged() {
  case $(<"$log") in
    *"No space left"*)
      set -- "the disk is full" "free some space and run this again" ;;
    *"No module named pip"* | *"python3"*"No such file"*)
      set -- "python3 with pip is not on the PATH" \
        "install both (Debian: apt install python3-pip), then run this again" ;;
    *"DO NOT MATCH THE HASHES"*)
      set -- "the download is not the file that is pinned by its hash" \
        "do not use it: a proxy or mirror changed it, or scripts/requirements contradicts itself" ;;
    *NO_PUBKEY* | *"not signed"*)
      set -- "this machine does not have the key that signs these packages" \
        "install or update the package debian-archive-keyring, then run this again" ;;
    *"ould not resolve"* | *"emporary failure"* | *"name resolution"* | *"onnection refused"* | \
      *"ould not connect"* | *"ouldn't connect"* | *"nable to connect"* | *"new connection"* | \
      *"etwork is unreachable"* | *"imed out"* | *"imeout was reached"* | *ProxyError*)
      set -- "the server cannot be reached from here" \
        "check the network and the variables http_proxy and https_proxy, then run this again" ;;
  esac
  fail "$1" "$2" "$log"
}

# use_tools: puts what setup has brought first on PATH.
use_tools() {
  # shellcheck source=/dev/null
  source "$tools/env"
}

# What cargo is told about the filter, whether it builds or checks it.
filter=(--locked --target wasm32-wasip1 -p meliproxy --lib)

build_filter() {
  perform "building the filter for wasm32-wasip1 (first time about 30 s)" \
    env -C "$root" cargo build --release "${filter[@]}"
}

build_programs() {
  perform "building launcher, upstream and benchmark (first time about 2 min)" \
    env -C "$root" cargo build --locked --profile tools --workspace --bins
}
