# Sourced by deploy/run and tests/run: finds cargo, and installs Debian packages that are missing.
# shellcheck shell=bash

# Puts cargo on the PATH when rustup installed it for this user but the shell does not know yet.
find_cargo() {
    if ! command -v cargo >/dev/null && [ -r "$HOME/.cargo/env" ]; then
        # shellcheck source=/dev/null
        . "$HOME/.cargo/env"
    fi
    if ! command -v cargo >/dev/null; then
        echo "cargo is missing: install Rust 1.95 or newer first" >&2
        return 1
    fi
}

# Runs a command as root: directly, or through sudo when it is there.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        return 1
    fi
}

# Refreshes the package lists once per run: a fresh image has none.
refresh_package_lists() {
    [ -n "${PACKAGE_LISTS_REFRESHED:-}" ] && return 0
    as_root apt-get update -qq || return 1
    PACKAGE_LISTS_REFRESHED=1
}

# need_packages NAME...: installs those that are not there, saying which.
need_packages() {
    local name missing=()
    if ! command -v dpkg-query >/dev/null; then
        echo "packages: this is not Debian; make sure the like of these is installed: $*"
        return 0
    fi
    for name in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
    done
    if [ ${#missing[@]} -eq 0 ]; then
        echo "packages: all there ($*)"
        return 0
    fi
    echo "packages: installing ${missing[*]}"
    if ! { refresh_package_lists && as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}"; }; then
        echo "packages: could not install: ${missing[*]} (needs root or sudo; install them and run this again)" >&2
        return 1
    fi
}
