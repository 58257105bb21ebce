"""Can this test run here? One place compares what tests need with what platform and image have; pure."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kola import ignition
from kola.external.model import PLATFORM_INDEPENDENT
from kola.needs import Needs, matches

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from kola.images import Image
    from kola.spec import Capability


def skip_reason(
    needs: Needs,
    *,
    platform: str,
    arch: str,
    capabilities: Collection[Capability],
    image: Image,
    fixtures: Collection[Capability] = (),
    lacks: Mapping[str, str] = MappingProxyType({}),
    platform_independent: bool = False,
) -> str | None:
    """Return why the test cannot run on this target, or None.

    Args:
        needs: what its marker says.
        platform: its name.
        arch: of the machines.
        capabilities: what the platform can do.
        image: that is booted.
        lacks: what of these it cannot here and now, and why.
        fixtures: what the platform must be able to do for the test's fixtures.
        platform_independent: whether tests with the tag of that name run on any platform.
    """
    if why := _not_on(platform, needs, platform_independent=platform_independent):
        return why
    if not matches(needs.architectures, arch):
        return f"not for architecture {arch} (architectures: {' '.join(needs.architectures)})"
    if missing := sorted((needs.spec.needs() | set(fixtures)) - (set(capabilities) - lacks.keys())):
        named = (f"{capability} ({lacks[capability]})" if capability in lacks else capability for capability in missing)
        return f"platform {platform} lacks {', '.join(named)}"
    if image.capabilities is not None and (lacking := sorted(set(needs.needs) - image.capabilities)):
        return f"image {image.name or image.reference} lacks {', '.join(lacking)}"
    if needs.ignition is not None:
        return ignition.too_new_for(needs.ignition, image.ignition_max)
    return None


def _not_on(platform: str, needs: Needs, *, platform_independent: bool) -> str | None:
    if not matches(needs.platforms, platform):
        return f"not for platform {platform} (platforms: {' '.join(needs.platforms)})"
    if PLATFORM_INDEPENDENT in needs.tags and platform != "qemu" and not platform_independent:
        return f"tag {PLATFORM_INDEPENDENT}: run on qemu only"
    return None
