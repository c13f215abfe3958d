# shellcheck shell=bash disable=SC2034,SC2154 # verify.sh, which sources it, has the variables
# What verify.sh is made of: the demo as a project of its own, and how checks wait and fail.

# compose ARGUMENT…: whichever Compose this machine has, on the project of this run.
compose() { "${compose[@]}" "$@"; }

# new_origin NAME OPTION…: a container of this name beside those of the demo, which sends what it is told to.
new_origin() {
  compose run -d --no-deps --name "$project-$1" traffic traffic --to edge:8080 "${@:2}" >/dev/null </dev/null
}

# published SERVICE PORT: where a port of a container can be reached from here.
published() { compose port "$1" "$2"; }

# prometheus QUERY: the value, or nothing.
prometheus() {
  curl -fsS --max-time 5 -G --data-urlencode "query=$1" "http://$(published prometheus 9090)/api/v1/query" |
    sed -n 's/.*"value":\[[^,]*,"\([^"]*\)"\].*/\1/p'
}

# wait_for WHAT SECONDS COMMAND…: calls it until it succeeds.
wait_for() {
  local end=$((SECONDS + $2))
  until "${@:3}"; do
    ((SECONDS < end)) || { say "    waited $2 s for $1"; return 1; }
    sleep 1
  done
}

# Counters begin anew with each minute, by the clock that containers share with this machine.
leave_end_of_minute() {
  local second
  second=$(date +%-S)
  ((second < 50)) || sleep $((61 - second))
}

# check WHAT COMMAND…: a promise of the demo.
check() {
  step "$1"
  "${@:2}" || fail "this was not so" "read the logs above; compose/README.md tells how to start it by hand"
  step_done
}

# fail: that of scripts/lib.sh, behind the logs.
eval "fail_plainly() $(declare -f fail | tail -n +2)"
fail() {
  [[ -n ${project:-} ]] || fail_plainly "$@"
  say "--- the containers and the end of their logs"
  compose ps >&2 || true
  compose logs --no-color --tail 40 >&2 || true
  fail_plainly "$@"
}

# Starts it all.
begin() {
  began=$SECONDS
  type -P docker curl >/dev/null || fail_plainly "docker or curl is not on the PATH" "install both"
  if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
  elif type -P docker-compose >/dev/null; then
    compose=(docker-compose)
  else
    fail_plainly "there is no Compose" "install docker-compose-plugin or docker-compose"
  fi
  [[ -n $offline ]] || reaches_registry || { say "no registry can be reached: building offline"; offline=yes; }

  scratch=$(mktemp -d)
  export MELIPROXY_CONFIG=$scratch/config
  rules=$MELIPROXY_CONFIG/meliproxy.json
  mkdir -- "$MELIPROXY_CONFIG"
  # On a machine that builds something else at the same time Redis answers later than the demo's 20 ms, and a replica
  # then rightly counts for itself.
  sed 's/"timeout": "20ms"/"timeout": "1s"/' "$here/config/meliproxy.json" >"$rules"
  chmod -R a+rX -- "$scratch"

  # Values of the environment are before those of .env.
  export PUBLISH=127.0.0.1 EDGE_PORT=0 EDGE_PASSIVE_PORT=0 PROMETHEUS_PORT=0 GRAFANA_PORT=0
  export UPSTREAM=http://upstream:8080 TRAFFIC_RATE=2
  "$here/make-env.sh"
  project=meliproxy-verify-$$
  compose+=(--project-directory "$here" -p "$project" -f "$here/docker-compose.yaml")
  if [[ -n $offline ]]; then
    "$here/offline/prepare"
    compose+=(-f "$here/offline/docker-compose.yaml")
    say "Grafana is left out: its image is in no registry that can be reached"
  fi
  trap end EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  step "building the images (first time some minutes)"
  log=$scratch/log
  run "read its output: docker says what it lacks" compose build
  step_done
  step "starting (about 1 min)"
  started=$SECONDS
  run "read its output, and the logs above" compose up -d --no-build --scale "proxy=$replicas"
  started=$((SECONDS - started))
  step_done
}

end() {
  local status=$?
  trap - EXIT
  stop_pulse
  say "taking it down"
  docker ps -aq --filter "name=^$project-" | xargs -r docker rm -f >/dev/null 2>&1
  compose down -v --remove-orphans -t 3 >"$scratch/down" 2>&1 || { cat -- "$scratch/down" >&2; status=1; }
  rm -rf -- "$scratch"
  exit "$status"
}

# By the smallest image that is needed anyway.
reaches_registry() {
  timeout 120 docker pull -q "$(sed -n 's/^ARG DEBIAN=//p' "$here/Dockerfile")" >/dev/null 2>&1
}
