"""Which stages have to be there for an image, each with its key, in the order in which they run (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .definition import Definition
from .keys import stage_key
from .stages import CODE, STAGES, Stage


@dataclass(frozen=True)
class Step:
    """One stage for one release.

    Attributes:
        stage: what is done.
        definition: of the release that it is done for.
        key: equal for two steps exactly when their results are the same.
        inputs: name by which the stage knows it -> step whose result it is.
    """

    stage: Stage
    definition: Definition
    key: str
    inputs: Mapping[str, "Step"]

    @property
    def version(self) -> str:
        """The release's number, and one that follows from the key: the same for the same content."""
        return f"{self.definition.release}.{int(self.key[:6], 16)}"


def plan(releases: Sequence[Definition], refreshed: Mapping[str, str] | None = None) -> list[Step]:
    """The steps to an image of the first release with updates to the others; the last step is the image.

    `refreshed` says when a stage was last asked to run again though nothing has changed.
    """
    stages = {stage.name: stage for stage in STAGES}
    found: dict[tuple[str, int], Step] = {}

    def step(stage: Stage, number: int) -> Step:
        number = 1 if stage.once else number
        if (stage.name, number) not in found:
            inputs: dict[str, Step] = {}
            for need in stage.needs:
                name, every, _ = need.partition("-*")
                if every:
                    inputs |= {f"{name}-{n}": step(stages[name], n) for n in range(1, len(releases) + 1)}
                else:
                    inputs[name] = step(stages[name], number)
            definition = releases[number - 1]
            found[stage.name, number] = Step(
                stage, definition, _key(stage, definition, inputs, refreshed or {}), inputs
            )
        return found[stage.name, number]

    step(STAGES[-1], 1)
    # Releases that agree in a stage's inputs share its result.
    steps: dict[tuple[str, str], Step] = {}
    for one in found.values():
        steps.setdefault((one.stage.name, one.key), one)
    return list(steps.values())


def _key(stage: Stage, definition: Definition, inputs: Mapping[str, Step], refreshed: Mapping[str, str]) -> str:
    asked = {"refreshed": refreshed[stage.name]} if stage.name in refreshed else {}
    return stage_key(
        stage.name,
        values={name: getattr(definition, name) for name in stage.values} | asked,
        files=(*stage.files(definition), *(CODE / name for name in stage.code)),
        inputs={name: one.key for name, one in inputs.items()},
    )
