# shellcheck shell=bash disable=SC2034,SC2154 # setup, which sources it, has the variables
# Debian's packages without installing any: apt with a state of its own, and dpkg that unpacks.

# from_debian NAME PACKAGES PROGRAMS DOWNLOAD VERSION: the packages of this machine's own release,
# with those libraries that the machine lacks.
from_debian() {
  local name=$1 packages=$2 into=$work/$1/root archives=$work/$1.archives
  local by_hand="install $3${5:+ ($5 or later)} yourself, onto the PATH, then run this again"
  local deb directory libraries="" setting="" program path
  open_own_release "$by_hand"
  step "bringing $name from this distribution's packages ($4)"
  mkdir -p -- "$archives/partial" "$into"
  # shellcheck disable=SC2086 # a list
  run "$by_hand" apt-get -y -q --no-install-recommends --reinstall --download-only \
    -o Dir::Cache::archives="$archives/" install $packages
  for deb in "$archives"/*.deb; do
    # A C library works with its own loader alone, and that is the machine's.
    [[ $deb == */libc6_* ]] || run "$by_hand" dpkg -x "$deb" "$into"
  done
  # What a browser would be sent, which nothing here asks for: beside Prometheus more than 200 MB.
  rm -rf -- "$into"/usr/share/{doc,fonts,javascript,nodejs}

  for directory in "$into"/{usr/,}lib/*-linux-gnu; do
    [[ ! -d $directory ]] || libraries+=\$here/root/${directory#"$into/"}:
  done
  [[ -z $libraries ]] ||
    setting="export LD_LIBRARY_PATH=\"${libraries%:}\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}\""
  for program in $3; do
    path=$(cd -- "$into" && PATH=usr/bin:usr/sbin:bin:sbin type -P "$program") ||
      fail "the packages $packages hold no program $program" "$by_hand"
    wrapper "$name" "$program" "\"\$here/root/$path\"" "$setting"
  done
}

# open_own_release BY_HAND: apt with the sources of the distribution that runs here.
open_own_release() {
  local ID="" VERSION_CODENAME="" sources
  command -v apt-get >/dev/null || fail "there is no apt here" "$1"
  sources=$(own_sources)
  [[ -n $sources ]] || fail "apt knows no server of this distribution's packages" "$1"
  open_apt own "$sources" "the package lists of this distribution (9 MB, about 5 s)"
}

# open_backports BY_HAND: apt with Debian's newest compilers, whatever release runs here.
open_backports() {
  local mirror
  command -v apt-get >/dev/null || fail "there is no apt here" "$1"
  mirror=$(own_sources | sed -n 's/.* \(http[^ ]*\/debian\)\/* .*/\1/p' | head -n 1)
  mirror=${mirror:-http://deb.debian.org/debian}
  open_apt backports "$(source_line debian "$mirror" trixie-backports main)" \
    "the package list of Debian's backports (1 MB, about 2 s)"
}

# The sources that apt has on this machine for the release it runs; Debian's public ones if none.
own_sources() {
  local ID="" VERSION_CODENAME="" uri release component found=0
  # shellcheck source=/dev/null
  source <(grep -E '^(ID|VERSION_CODENAME)=' /etc/os-release)
  # shellcheck disable=SC2016 # for apt to expand
  while read -r uri release component; do
    [[ $uri == http* && $release == "$VERSION_CODENAME"?(-updates|-security) ]] || continue
    source_line "$ID" "$uri" "$release" "$component"
    found=1
  done < <(apt-get -o Dir::State::lists="$work/" -o Dir::State::status=/dev/null indextargets \
    --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | sort -u)
  if [[ $ID == debian && $found == 0 ]]; then
    source_line debian http://deb.debian.org/debian "$VERSION_CODENAME" main
    source_line debian http://deb.debian.org/debian "$VERSION_CODENAME-updates" main
    source_line debian http://deb.debian.org/debian-security "$VERSION_CODENAME-security" main
  fi
}

# source_line DISTRIBUTION URI RELEASE COMPONENT: signed by the distribution's own keys.
source_line() {
  local keys=/usr/share/keyrings/$1-archive-keyring.gpg
  [[ -f $keys ]] && keys="[signed-by=$keys] " || keys=""
  echo "deb $keys$2 $3 $4"
}

# open_apt NAME SOURCES LABEL: makes apt use these sources and nothing else of this machine's setup
# than how it reaches its servers and what is installed. The lists are gone when setup ends.
open_apt() {
  local state=$work/apt-$1
  export APT_CONFIG=$state/apt.conf
  [[ ! -d $state ]] || return 0
  step "reading $3"
  mkdir -p -- "$state/lists/partial" "$state/archives/partial"
  echo "$2" >"$state/sources.list"
  {
    env -u APT_CONFIG apt-config dump | grep -E '^Acquire::(https?::|Check-|ForceIPv)' || true
    cat <<CONF
Dir::State "$state/";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$state/";
Dir::Etc::sourcelist "$state/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Acquire::Retries "2";
Debug::NoLocking "true";
CONF
  } >"$state/apt.conf"
  run "see whether \`apt-get update\` works on this machine" apt-get -q update
  step_done
}
