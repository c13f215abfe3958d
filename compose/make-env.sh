#!/usr/bin/env bash
# Writes .env: passwords that nobody knows, and the ports to choose from.
set -euo pipefail

help() {
  cat <<'HELP'
Writes the settings of the demo to compose/.env, with new passwords for Redis and Grafana. A file that is there
already stays as it is.

usage: compose/make-env.sh [--help]
HELP
}

for argument in "$@"; do
  case $argument in
    -h | --help) help; exit 0 ;;
    *) echo "make-env.sh: unknown option $argument (compose/make-env.sh --help tells)" >&2; exit 2 ;;
  esac
done

file=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.env
[[ ! -e $file ]] || { echo "$file is there already, and stays as it is" >&2; exit 0; }

password() { od -An -N 16 -tx1 /dev/urandom | tr -d ' \n'; }

# Readable by its owner alone, and all or nothing.
umask 077
new=$file.$$
cat >"$new" <<ENV
# Settings of the demo, made by make-env.sh. Never commit this file.
REDIS_PASSWORD=$(password)
GRAFANA_PASSWORD=$(password)

# The defaults of docker-compose.yaml:
# PUBLISH=127.0.0.1
# EDGE_PORT=8080
# EDGE_PASSIVE_PORT=8081
# PROMETHEUS_PORT=9090
# GRAFANA_PORT=3000
# UPSTREAM=http://upstream:8080
# MELIPROXY_CONFIG=./config
# TRAFFIC_RATE=10
ENV
mv -- "$new" "$file"
echo "wrote $file" >&2
