# Shared by the scripts in ci/: where things are, and how progress is printed.
# shellcheck shell=bash
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
CACHE=${KOLA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kola}
export KOLA_CACHE=$CACHE

_began=$SECONDS
_phases=()

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }
die() { printf 'ERROR: %s\n' "$*" >&2; exit 1; }
usage_error() { printf 'ERROR: %s\n' "$*" >&2; exit 4; } # what was asked makes no sense; the code is kola's for that, too

# Whether a policy of `kola gate` names the keys that results have to be signed by. What is no policy the gate tells of.
names_keys() {
    "$VENV/bin/python" - "$1" <<'END'
import sys, tomllib
try:
    with open(sys.argv[1], "rb") as file:
        sys.exit(0 if tomllib.load(file)["results"]["keys"] else 1)
except (OSError, ValueError, LookupError, TypeError):
    sys.exit(1)
END
}

# phase NAME COMMAND...: run it, remember how long it took for the table at the end.
phase() {
    local name=$1 began=$SECONDS rc=0
    shift
    say "$name"
    "$@" || rc=$?
    _phases+=("$(printf '%-34s %5d s   %s' "$name" $((SECONDS - began)) "$([ $rc = 0 ] && echo ok || echo "FAILED ($rc)")")")
    return $rc
}

phases_table() {
    [ ${#_phases[@]} -gt 0 ] || return 0
    say "phases"
    printf '    %s\n' "${_phases[@]}" "$(printf '%-34s %5d s' total $((SECONDS - _began)))"
}
