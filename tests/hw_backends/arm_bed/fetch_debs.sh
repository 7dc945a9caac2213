#!/bin/bash
# fetch_debs.sh ARCH DEST PKG...   unpack Debian packages of another architecture into DEST, with a private apt state:
# the machine's own package lists and architectures stay as they are. +PKG is what PKG, a name without a version, needs.
set -eu
arch=$1 dest=$2; shift 2
st=$APT_PRIVATE/$arch
mkdir -p "$st"/{lists/partial,archives/partial} "$dest"
: > "$st/status"
# only the main suite: fewer indexes to be caught half-synced ("Mirror sync in progress?" was seen
# on bookworm-security/armhf for minutes), and a test device needs no newest package
. /etc/os-release
uri=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | awk -v c="$VERSION_CODENAME" '$2==c && $3=="main"{print $1; exit}')
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $VERSION_CODENAME main" > "$st/sources.list"
o=(-o APT::Architecture=$arch -o APT::Architectures=$arch -o Dir::State="$st" -o Dir::State::lists="$st/lists"
   -o Dir::State::status="$st/status" -o Dir::Cache="$st" -o Dir::Cache::archives="$st/archives"
   -o Dir::Etc::sourcelist="$st/sources.list" -o Dir::Etc::sourceparts=/dev/null -o APT::Sandbox::User=root)
for i in 1 2 3 4; do
  [ -n "$(ls "$st"/lists/*Packages* 2>/dev/null)" ] || apt-get -qq "${o[@]}" update || true
  want=()
  for p in "$@"; do
    case $p in
      +*) want+=($(apt-cache "${o[@]}" depends "${p#+}" | sed -n 's/^ *Depends: //p' | head -1)) ;;
      *) want+=("$p") ;;
    esac
  done
  ( cd "$st/archives" && apt-get -qq "${o[@]}" download "${want[@]}" ) && break
  [ $i = 4 ] && { echo "fetch_debs: could not get $* for $arch" >&2; exit 1; }
  rm -rf "$st"/lists/*Packages*; sleep $((i * 5))
done
for p in "${want[@]}"; do dpkg-deb -x "$(ls -t "$st"/archives/${p}_*.deb | head -1)" "$dest"; done
