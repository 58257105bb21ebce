"""A container image made on the machine itself, of its own programs: nothing is pulled, on any distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kola.machine import Machine

IMAGE = "localhost/kola:1"
# Where a script of this name is put by who needs it at boot.
SCRIPT_PATH = "/usr/local/bin/kola-make-image"

# `serve PORT TEXT` answers every connection with the text; `fetch HOST PORT` prints what it gets, or fails.
SCRIPT = r"""#!/bin/bash
# kola-make-image ENGINE IMAGE [DOCKERFILE-INSTRUCTION...]: an image of this machine's own programs.
set -euo pipefail
engine=$1 image=$2
shift 2
root=$(mktemp -d /var/tmp/kola-image.XXXXXX)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{usr/{bin,lib,lib64},etc,proc,sys,dev,tmp,run,var,root}
ln -s usr/bin "$root/bin"
ln -s usr/lib "$root/lib"
ln -s usr/lib64 "$root/lib64"
chmod 755 "$root"
chmod 1777 "$root/tmp"
# What can listen on a port differs from system to system.
tools="bash cat chmod dd echo env false grep head id ls mkdir mv rm sleep stat sync timeout touch true tr uname"
for tool in $tools ncat socat busybox; do
    path=$(type -P "$tool") || continue
    cp -L "$path" "$root/usr/bin/$tool"
    # A static program has no libraries.
    { ldd "$path" 2>&1 | grep -o '/[^ ]*' || true; } | while read -r library; do
        cp -L --parents --update=none "$library" "$root"
    done
done
ln -s bash "$root/usr/bin/sh"
printf 'root:x:0:0:root:/root:/bin/sh\nguest:x:1234:1234::/tmp:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nguest:x:1234:\n' >"$root/etc/group"
cat >"$root/usr/bin/serve" <<'END'
#!/bin/bash
printf '#!/bin/bash\nprintf %%s %q\n' "$2" >/tmp/answer
chmod 755 /tmp/answer
if type -P ncat >/dev/null; then exec ncat --listen --keep-open "$1" --exec /tmp/answer
elif type -P socat >/dev/null; then exec socat "TCP-LISTEN:$1,fork,reuseaddr" EXEC:/tmp/answer
else exec busybox nc -ll -p "$1" -e /tmp/answer
fi
END
cat >"$root/usr/bin/fetch" <<'END'
#!/bin/bash
exec 3<>"/dev/tcp/$1/$2" && timeout 20 cat <&3
END
chmod 755 "$root"/usr/bin/{serve,fetch}
changes=()
for change in 'CMD ["/usr/bin/sleep", "infinity"]' 'STOPSIGNAL SIGKILL' "$@"; do changes+=(--change "$change"); done
tar -C "$root" -c . | "$engine" import "${changes[@]}" - "$image" >/dev/null
"""


def make_image(
    machine: Machine, name: str = IMAGE, *, user: str = "root", engine: str = "podman", changes: tuple[str, ...] = ()
) -> str:
    """Make the image for a user of the machine unless it is there already; returns its name.

    Args:
        machine: whose programs it is made of.
        name: with a tag.
        user: whose image store it goes to.
        engine: ``podman`` or ``docker``.
        changes: further instructions of a Dockerfile, such as ``LABEL a=b``.
    """
    if machine.run([engine, "image", "inspect", name], user=user, check=False, timeout=120).exit_code != 0:
        machine.run(["bash", "-c", SCRIPT, "kola-make-image", engine, name, *changes], user=user, timeout=300)
    return name
