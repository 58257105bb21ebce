"""The real Butane, built by Go: what it says of configs.

``python -m tests.unit.butane.oracle`` writes its answers to ``data/butane/answers.json``, for machines without Go.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from kola.optionvalues import cache_folder
from tests.unit.butane.configs import FILES, written
from tests.unit.butane.generator import Generator

SOURCE = Path(__file__).parents[2] / "oracles" / "butane"
ANSWERS = Path(__file__).parents[1] / "data" / "butane" / "answers.json"
GENERATED = 200
"""Seeds whose configs are recorded."""


@dataclass(frozen=True)
class Answer:
    """What Butane made of a config; ``ignition`` is empty if it refused, ``warnings`` if it had none."""

    name: str
    config: str
    ignition: str
    warnings: str


def build() -> Path:
    """Return the program, built if it is not there.

    Raises:
        RuntimeError: Go cannot build it.
    """
    key = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in ("main.go", "go.mod", "go.sum"))).hexdigest()
    program = cache_folder() / "oracles" / f"butane-{key[:16]}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        draft = program.with_suffix(f".{os.getpid()}")
        done = subprocess.run(
            ["go", "build", "-o", draft, "."], cwd=SOURCE, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"go build: {done.stderr.strip()}")
        draft.replace(program)
    return program


def have_go() -> bool:
    """Whether there is a Go toolchain here."""
    return shutil.which("go") is not None


def ask(configs: dict[str, str]) -> list[Answer]:
    """Return what Butane says of configs (name -> text)."""
    questions = "".join(json.dumps({"config": text, "files": str(FILES)}) + "\n" for text in configs.values())
    done = subprocess.run([build()], input=questions, capture_output=True, text=True, check=True)
    answers = []
    for (name, text), line in zip(configs.items(), done.stdout.splitlines(), strict=True):
        said = json.loads(line)
        answers.append(Answer(name, text, "" if said["error"] else said["ignition"], _sorted(said["report"])))
    return answers


def _sorted(report: str) -> str:
    """Butane tells its warnings in any order."""
    return "\n".join(sorted(line for line in report.splitlines() if line.strip()))


def generated(first: int, count: int) -> dict[str, str]:
    """Return the configs of some seeds."""
    return {f"seed {seed}": Generator(seed).config() for seed in range(first, first + count)}


def recorded() -> list[Answer]:
    """Return the answers that were written down."""
    return [Answer(**entry) for entry in json.loads(ANSWERS.read_text())]


def main() -> None:
    """Write the answers down."""
    answers = ask({**written(), **generated(0, GENERATED)})
    ANSWERS.parent.mkdir(parents=True, exist_ok=True)
    # Where the files are is of no importance, and differs.
    text = json.dumps([asdict(answer) for answer in answers], indent=0, ensure_ascii=False)
    ANSWERS.write_text(text.replace(str(FILES), "FILES") + "\n")
    print(f"{len(answers)} answers in {ANSWERS.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
