"""Ending a command on a machine with everything that it started: a script for bash, run over a channel of its own."""

from __future__ import annotations

import shlex

TOKEN = "KOLA_COMMAND"  # noqa: S105 - the name of an environment variable
"""Names the environment variable by which a command's processes are found when they have to be ended."""

_KILL = r"""
if [ "$(id -u)" != 0 ] && sudo -n true 2>/dev/null; then
    exec sudo -n bash --norc -c "$BASH_EXECUTION_STRING" kola "$@"
fi
token=$1 shell=$2 spared=$3
[ "$shell" ] && kill -STOP "$shell"  # it must not go on with the next command
look() {
    local file pid stat
    parent=() group=() session=()
    for file in /proc/[0-9]*/stat; do
        { read -r stat <"$file"; } 2>/dev/null || continue
        pid=${file#/proc/} pid=${pid%/stat}
        set -- ${stat##*) }
        [[ $1 == [ZX] ]] || parent[pid]=$2 group[pid]=$3 session[pid]=$4
    done
}
spread() {
    local pid before=-1 groups sessions
    while ((before != ${#doomed[@]})); do
        before=${#doomed[@]} groups=() sessions=()
        for pid in "${!doomed[@]}"; do groups[${group[pid]}]=1 sessions[${session[pid]}]=1; done
        unset -v "groups[0]" "sessions[0]" "groups[${group[${shell:-0}]:-0}]" "sessions[${spared:-0}]"
        for pid in "${!parent[@]}"; do
            [[ ${doomed[parent[pid]]} || ${groups[group[pid]]} || ${sessions[session[pid]]} ]] && doomed[pid]=1
        done
    done
}
while :; do
    look
    doomed=()
    for file in $(grep -lszFf - /proc/[0-9]*/{environ,cmdline} <<<"KOLA_COMMAND=$token"); do
        pid=${file#/proc/} pid=${pid%/*}
        [[ ${parent[pid]} && $pid != "$shell" ]] && doomed[pid]=1
    done
    [[ $shell && ${parent[$shell]} ]] && doomed[$shell]=1
    ((${#doomed[@]})) || exit 0
    ((SECONDS < 10)) || exit 1
    spread
    kill -KILL "${!doomed[@]}"
    sleep 0.05  # on a busy machine, or in the middle of a write, a process takes its time to die
done 2>/dev/null
"""
"""Kills what holds the token in its environment or command line (login shell), and the shell that ran it; and what
descends from these, and what is in their process groups and sessions.

$1 is the token, $2 the shell that stayed until now, $3 the session in which that ran its commands: to be in it, or in
the shell's own process group, is no reason to die.
Only grep's input spells out what is looked for, so that this script does not find itself.
"""


def marked(line: str, token: str) -> str:
    """Return a line whose processes can be found by the token."""
    return f"export {TOKEN}={token}; {line}"


def kill_line(token: str, *, shell: str = "", spared: str = "") -> str:
    """Return what the login shell gets to kill a command.

    Its exit code 0 means that nothing is left of the command, 1 that something was after ten seconds.

    Args:
        token: the command's.
        shell: process id of the shell that ran it, if that was to stay; it is killed too.
        spared: id of the session that other commands' processes are in too.
    """
    return f"exec bash --norc -c {shlex.quote(_KILL)} kola {token} {shlex.quote(shell)} {shlex.quote(spared)}"
