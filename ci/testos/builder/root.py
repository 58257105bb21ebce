"""Stage `root`: the packages, installed by mmdebstrap and otherwise untouched."""

import shutil
import subprocess
from pathlib import Path

from .definition import Definition
from .output import Output

# What nobody reads on a test machine.
_EXCLUDED = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")


def host_mirror() -> str | None:
    """The mirror that this host itself uses for its main suite; None lets mmdebstrap use its own default."""
    if shutil.which("apt-get") is None:
        return None
    found = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)|$(RELEASE)|$(CODENAME)|$(LABEL)|$(CREATED_BY)"],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in found.stdout.splitlines():
        site, _, rest = line.partition("|")
        release, codename, label, created_by = rest.split("|")
        # Updates, backports and security have names with a dash and their own places.
        if created_by == "Packages" and label == "Debian" and "-" not in codename and "-" not in release:
            return site
    return None


def apt_options() -> list[str]:
    """Hosts behind a mirror that is frozen in time switch these checks off for themselves; follow them."""
    dumped = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    kept = ("Acquire::Check-Valid-Until ", "Acquire::Check-Date ", "Acquire::http::Proxy ", "Acquire::https::Proxy ")
    return [f"--aptopt={line.rstrip(';')}" for line in dumped.splitlines() if line.startswith(kept)]


def mmdebstrap(
    output: Output, suite: str, packages: tuple[str, ...], *, variant: str, target: Path, extra: tuple[str, ...] = ()
) -> None:
    """Fetch packages (mmdebstrap verifies signatures with the host's archive keys) into a folder."""
    command = ["mmdebstrap", "--mode=root", f"--variant={variant}", f"--include={','.join(packages)}"]
    command += [*apt_options(), *extra, "--format=directory", suite, str(target)]
    mirror = host_mirror()
    if mirror:
        command.append(mirror)
    output.run(command)


def build(definition: Definition, output: Output, result: Path) -> None:
    """Install the packages."""
    extra = tuple(f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDED)
    mmdebstrap(output, definition.suite, definition.packages, variant="minbase", target=result / "root", extra=extra)
