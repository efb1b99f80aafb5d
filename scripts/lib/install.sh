# Installs what a script needs. Sourced.

# need COMMAND PACKAGE: makes sure that the command is there, by Debian's package, and ends the script where it cannot be had.
need() {
  command -v "$1" >/dev/null 2>&1 && return 0
  echo "installing $2 (for $1)"
  need_package "$2"
  command -v "$1" >/dev/null 2>&1 || { echo "error: $1 is needed and could not be installed (package $2)" >&2; exit 1; }
}

# need_package PACKAGE: installs Debian's package, whatever is there.
need_package() {
  local root=""
  [ "$(id -u)" = 0 ] || root=sudo
  if [ -z "${HOLDFAST_APT_UPDATED:-}" ]; then
    $root apt-get update -qq
    HOLDFAST_APT_UPDATED=1
  fi
  # Debian starts a server with the package; a policy that refuses keeps port 6379 free.
  local policy=/usr/sbin/policy-rc.d ours=""
  if [ ! -e "$policy" ]; then
    ours=yes
    printf '#!/bin/sh\nexit 101\n' | $root tee "$policy" >/dev/null
    $root chmod +x "$policy"
  fi
  DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq "$1" >/dev/null || true
  [ -z "$ours" ] || $root rm -f "$policy"
}
