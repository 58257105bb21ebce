"""Which external tests the user wants to run, and why the others are out. Pure.

Source: kola's own filter (``filterTests`` of coreos-assembler); a pattern or a tag in doubt means what it means there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola.errors import ConfigError
from kola.external.glob import compiled, matches
from kola.text import some

if TYPE_CHECKING:
    from collections.abc import Collection

    from kola.external.sharding import Shard

_EVERYTHING = "*"


OTHER_SHARE, TAG_ONLY = "it is in another share", "it runs with --tag"
"""How the reasons begin that nobody has to ask for: the run has a share, the test says so itself."""


@dataclass(frozen=True)
class Choice:
    """What the command line says.

    Attributes:
        patterns: of names; a test must have one, or one of the tags. Empty: all.
        tags: those that are wanted; with a leading ``!`` those that are not.
        denied: patterns of names that are not wanted.
        shard: the share of this run.
        internet: whether tests that need it can run.
    """

    patterns: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    shard: Shard | None = None
    internet: bool = True

    def check(self, names: Collection[str]) -> None:
        """Make sure that every pattern is some test's.

        Raises:
            ConfigError: one is malformed, or no test's.
        """
        for pattern in (*self.patterns, *self.denied):
            compiled(pattern)
        for pattern in self.patterns:
            if not any(matches(pattern, name) for name in names):
                raise ConfigError(f"--test '{pattern}': no test has such a name; collected: {some(sorted(names))}")

    def why_not_by_name(self, name: str) -> str:
        """Say why a test is not wanted, as far as its name tells; empty if more has to be known of it."""
        unknown = any(not tag.startswith("!") for tag in self.tags)
        return "" if unknown else self.why_not(name, ())

    def why_not(self, name: str, tags: Collection[str], required_tag: str = "") -> str:
        """Say why a test is not wanted; empty if it is."""
        wanted = [tag for tag in self.tags if not tag.startswith("!")]
        if unwanted := [tag for tag in self.tags if tag.startswith("!") and tag[1:] in tags]:
            return f"--tag {unwanted[0]}"
        if required_tag and required_tag not in wanted:
            return f"{TAG_ONLY} {required_tag} only"
        chosen = self._not_chosen(name, wanted, any(tag in tags or tag == required_tag for tag in wanted))
        return chosen or self._denied(name)

    def _not_chosen(self, name: str, wanted: list[str], tagged: bool) -> str:  # noqa: FBT001 - internal
        if self.patterns and _EVERYTHING not in self.patterns:
            named = any(matches(pattern, name) for pattern in self.patterns)
            return "" if named or tagged else f"--test {' --test '.join(self.patterns)}"
        return f"it has no tag of {', '.join(wanted)}" if wanted and not tagged else ""

    def _denied(self, name: str) -> str:
        if found := next((pattern for pattern in self.denied if matches(pattern, name)), ""):
            return f"--denylist-test {found}"
        if self.shard is not None and not self.shard.has(name):
            return f"{OTHER_SHARE} than {self.shard.number} of {self.shard.total}"
        return ""
