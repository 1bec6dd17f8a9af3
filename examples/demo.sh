#!/usr/bin/env bash
# A first look: every command is shown, then run for real, with a state directory that is thrown away at the end.
set -euo pipefail

if [ "$(id -u)" -ne 0 ]; then
    echo "containers need root for now: try \`sudo make demo\`" >&2
    exit 1
fi

PYRUST_CTR_ROOT=$(mktemp -d /var/tmp/pyrust-ctr-demo.XXXXXX)
export PYRUST_CTR_ROOT

leave_nothing() {
    containers=$(pctr ps -a -q) || containers=""
    # shellcheck disable=SC2086 # one argument a container
    [ -z "$containers" ] || pctr rm -f $containers >/dev/null || true
    rm -rf "$PYRUST_CTR_ROOT"
}
trap leave_nothing EXIT

show() {
    printf '\n$'
    for word in "$@"; do
        case $word in
        *[!a-zA-Z0-9/:._-]*) printf " '%s'" "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
    "$@"
}

show pctr version
show pctr run --rm hello-world
show pctr run --rm --memory 64m --pids-limit 32 host sh -c \
    'echo "I am $(id -un), process $$ on $(hostname)"; echo gone in a moment > /note; cat /note'
show pctr run -d --name sleeper host sleep 100
show pctr exec sleeper sh -c 'cat /proc/[0-9]*/comm'
show pctr ps
show pctr images
show pctr stop -t 1 sleeper
show pctr ps -a
show pctr rm sleeper
printf '\n'
