"""An external test as its machine has to know it: names, paths, and its systemd unit. Pure.

Source: docs/kola/external-tests.md of coreos-assembler, and kola for the paths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = "/run/kola-runext-env"
"""Read by the unit: the mark of the reboot before, if there was one."""
_PROGRAM = "/usr/local/bin/kola-runext-"
_HOME = "/var/home/core"
_DATA = "/var/opt/kola/extdata"


@dataclass(frozen=True)
class Program:
    """A test as the machine has to know it.

    Attributes:
        name: of the test.
        executable: on this host.
        data: folder that comes with it, or None.
        number: of a test that shares its machine, by which its unit and data are told from those of others; else None.
        container: file on this host that is put onto the machine for it, or None.
    """

    name: str
    executable: Path
    data: Path | None = None
    number: int | None = None
    container: Path | None = None

    @property
    def unit(self) -> str:
        """The unit that it runs in."""
        return f"kola-runext{self._suffix}.service"

    @property
    def data_folder(self) -> str:
        """Where its data is on the machine, whether it has some or not."""
        return f"{_DATA}{self._suffix}"

    @property
    def path(self) -> str:
        """Where it is on the machine."""
        return f"{_PROGRAM}{self.executable.name}"

    @property
    def container_path(self) -> str:
        """Where its container image is on the machine, if it has one."""
        assert self.container is not None  # noqa: S101 - asked for by its callers
        return f"{_HOME}/{self.container.name}"

    @property
    def _suffix(self) -> str:
        return "" if self.number is None else f"-{self.number}"

    def unit_file(self) -> str:
        """Return the text of its unit. Not Type=oneshot, so that the test may end itself by SIGTERM."""
        variables = {
            "KOLA_UNIT": self.unit,
            "KOLA_TEST": self.name,
            "KOLA_TEST_EXE": self.executable.name,
            "KOLA_EXT_DATA": self.data_folder,
        }
        if self.container is not None:
            variables["KOLA_EXT_OSTREE_OCIARCHIVE"] = self.container_path
        environment = "".join(f"Environment={_quoted(f'{key}={value}')}\n" for key, value in variables.items())
        # A leading character of a path that means something to ExecStart cannot be there: it is absolute.
        return (
            f"[Unit]\nDescription=kola test {_escaped(self.name)}\n\n[Service]\nRemainAfterExit=yes\n"
            f"EnvironmentFile=-{ENVIRONMENT}\n{environment}ExecStart={_quoted(self.path).replace('$', '$$')}\n"
        )


def _escaped(text: str) -> str:
    return text.replace("%", "%%").replace("\n", " ")


def _quoted(text: str) -> str:
    """Return a word as systemd reads it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_escaped(escaped)}"'
