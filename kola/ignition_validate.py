"""A second opinion on a config: Ignition's own ``ignition-validate``, where it is installed."""

from __future__ import annotations

import shutil
import subprocess

from kola.errors import ConfigError

_SECONDS = 60
_UNKNOWN_VERSION = "unsupported config version"


def validate_with_tool(data: bytes, source: str = "config", *, tool: str = "ignition-validate") -> tuple[str, ...]:
    """Let ``ignition-validate`` judge a config, if it is installed and knows the config's version.

    Args:
        data: the serialised config.
        source: names it in messages.
        tool: a program in the PATH, or its path.

    Returns:
        The tool's warnings, one line each; nothing if the tool has nothing to say on this config.

    Raises:
        ConfigError: the tool refuses the config; one line with its reasons.
    """
    program = shutil.which(tool)
    if program is None:
        return ()
    try:
        done = subprocess.run([program, "-"], input=data, capture_output=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired as e:
        raise ConfigError(f"{source}: {tool} gave no answer within {_SECONDS} s") from e
    said = (done.stdout + b"\n" + done.stderr).decode(errors="replace")
    if _UNKNOWN_VERSION in said:
        return ()
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if done.returncode:
        errors = [line for line in lines if not line.startswith("warning")]
        raise ConfigError(f"{source}: {tool}: {'; '.join(errors) or f'exit code {done.returncode}'}")
    return tuple(line for line in lines if line.startswith("warning"))
