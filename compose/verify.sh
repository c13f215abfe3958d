#!/usr/bin/env bash
# Proves the demo: starts it beside whatever else runs, tries what it promises, and takes it down again.
set -euo pipefail

help() {
  cat <<'HELP'
Starts the demo as a project of its own, on ports that the system chooses and with a configuration of its own, and
checks: both edges serve, the quota is exact over five replicas, rules change while it runs, Prometheus sees every
container, replicas and the Redis primary may be killed, replicas be added and taken away, all without a failed request.
Whatever happens it is taken down again; when a check fails, after its logs have been shown.

usage: compose/verify.sh [--offline] [--help]

  --offline   build from Debian's packages and without a registry (by itself where no registry can be reached)
  --help      this text
HELP
}

offline=
for argument in "$@"; do
  case $argument in
    -h | --help) help; exit 0 ;;
    --offline) offline=yes ;;
    *) echo "verify.sh: unknown option $argument (compose/verify.sh --help lists them)" >&2; exit 2 ;;
  esac
done

here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
# shellcheck source=../scripts/lib.sh
source "$here/../scripts/lib.sh"
# shellcheck source=verify-lib.sh
source "$here/verify-lib.sh"
replicas=5

serves_through() { curl -fsS --max-time 10 -o "$scratch/answer" "http://$1/categories/MLA97994" && grep -q '"id":"MLA97994"' "$scratch/answer"; }
prometheus_says() { [[ $(prometheus "sum($1)") == "$2" ]]; }

# Joined by && where there is more than one command: errexit does not hold in what `check` calls.

# Who counts without Redis, or is about to, does so rightly and not exactly: these checks are for a fleet that is well.
fleet_is_well() {
  prometheus_says 'up{job="replica"}' "$1" && prometheus_says 'meliproxy_redis_connections' "$1" &&
    prometheus_says 'meliproxy_degraded' 0 &&
    prometheus_says 'envoy_cluster_membership_healthy{envoy_cluster_name="replicas"}' $((2 * $1))
}

# quota_is LIMIT: of 60 requests at once of a new origin exactly so many pass. Origins stay until the end: another
# container would get the address of one that is gone, and with it what it has counted.
quota_is() {
  local name=origin-$((++origins))
  leave_end_of_minute
  new_origin "$name" --path /users/1 --rate 1 &&
    said=$(docker exec "$project-$name" traffic --to edge:8080 --path /items/MLA1 --burst 60 --connections 20) &&
    [[ $said == "200 x$1, 429 x$((60 - $1));"* ]]
}
origins=0

# A busy machine may disturb one, so three are tried.
quota_is_exact() {
  for _ in 1 2 3; do
    ! quota_is "$1" || return 0
    say "    not exact: $said"
  done
  return 1
}

# under_load COMMAND…: nobody who is served meanwhile notices the command.
under_load() {
  local name=$project-load-$((++loads)) status=0
  new_origin "load-$loads" --path /users/1 --path /echo/x --rate 50 --for 600 --expect 200 &&
    wait_for "the traffic to begin" 60 has_begun "$name" && "$@" || status=1
  docker kill -s TERM "$name" >/dev/null
  [[ $(docker wait "$name") == 0 ]] || status=1
  docker logs "$name" 2>&1 | sed 's/^/    meanwhile: /' >&2
  return "$status"
}
has_begun() { docker logs "$1" 2>&1 | grep -q sending; }
loads=0

kill_a_replica() {
  local id
  id=$(compose ps -q proxy | sed -n 2p)
  # All processes but the first of the container, which ends with Envoy.
  docker exec "$id" sh -c 'kill -9 -1' &&
    wait_for "the replica to be started again" 120 restarted "$id" &&
    wait_for "all replicas to be well again" 120 fleet_is_well "$replicas"
}
restarted() { [[ $(docker inspect -f '{{.RestartCount}} {{.State.Health.Status}}' "$1") == "1 healthy" ]]; }

role() {
  # shellcheck disable=SC2016 # for the shell of the container
  compose exec -T "$1" sh -c 'REDISCLI_AUTH=$MELIPROXY_REDIS_PASSWORD redis-cli ROLE' </dev/null 2>/dev/null | head -n 1
}
has_role() { [[ $(role "$1") == "$2" ]]; }
kill_the_primary() {
  compose kill -s SIGKILL redis-primary &&
    wait_for "the Sentinels to promote the replica" 120 has_role redis-replica master &&
    wait_for "all replicas to count exactly again" 120 fleet_is_well "$replicas"
}
bring_the_primary_back() {
  compose start redis-primary &&
    wait_for "the old primary to be a replica" 60 has_role redis-primary slave &&
    has_role redis-replica master
}

scale_to() {
  compose up -d --no-build --no-recreate --scale "proxy=$1" &&
    wait_for "$1 replicas" 120 fleet_is_well "$1"
}
scale_down_and_up() { scale_to 2 && scale_to "$replicas"; }

# edit SCRIPT: changes the rules as an editor does, by renaming a new file into place.
edit() {
  sed "$1" "$rules" >"$rules.new" &&
    mv -- "$rules.new" "$rules"
}
bad_rules_are_refused() {
  edit 's/"version": 1/"version": 1, "quotes": []/' &&
    wait_for "the replicas to refuse it" 30 refused &&
    quota_is_exact "$1" &&
    edit 's/, "quotes": \[\]//'
}
refused() { (($(compose logs --no-color proxy | grep -c 'config: refused') >= replicas)); }

begin
check "both edges serve" serves_through "$(published edge 8080)"
check "so does the passive one" serves_through "$(published edge-passive 8080)"
check "Prometheus sees every replica and edge" wait_for "the targets" 120 prometheus_says 'up{job=~"replica|edge"}' $((replicas + 2))
check "all replicas reach Redis" wait_for "all connections" 120 fleet_is_well "$replicas"
check "10 a minute for an origin and /items/*, over $replicas replicas" quota_is_exact 10
edit 's/"limit": 10,/"limit": 20,/; s/"limit": 1000,/"limit": 1000000,/'
check "rules change without a restart" wait_for "20 a minute" 60 quota_is 20
check "bad rules change nothing" bad_rules_are_refused 20
check "a killed replica is not missed" under_load kill_a_replica
check "a lost Redis primary is not missed" under_load kill_the_primary
check "the quota is exact on the new primary" quota_is_exact 20
check "the old primary comes back as a replica" bring_the_primary_back
check "replicas come and go unnoticed" under_load scale_down_and_up
check "the quota is exact on the new replicas" quota_is_exact 20
say "verified in $((SECONDS - began)) s, of which the start took $started s"
