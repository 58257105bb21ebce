"""What a provider's front end has to supply."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from wsgiref.types import StartResponse, WSGIEnvironment

    from werkzeug import Request, Response

    from rehearsal.faults import Trouble
    from rehearsal.host import CloudHost, Machine


class FrontEnd(ABC):
    """A provider's API, and the metadata service of its machines. Strict: what it does not know, it refuses.

    Attributes:
        ignition_platform: ``ignition.platform.id`` of its images.
        url: of the endpoint; set before the first request.
    """

    ignition_platform: ClassVar[str]

    def __init__(self, host: CloudHost) -> None:
        self.host = host
        self.url = ""

    @abstractmethod
    def call_name(self, request: Request) -> str:
        """Return the provider's name for a call, such as ``RunInstances``; faults are injected by it."""

    @abstractmethod
    def refuse(self, trouble: Trouble, request: Request, call: str) -> Response:
        """Return the provider's answer to a call that meets with trouble (not CUT, LOST, GARBLED)."""

    @abstractmethod
    def wsgi(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a call."""

    @abstractmethod
    def metadata(self, machine: Machine, request: Request) -> Response:
        """Answer a request of a guest to its metadata service."""

    @abstractmethod
    def environment(self) -> Mapping[str, str]:
        """Return the environment variables by which the SDK finds credentials for this endpoint."""

    @abstractmethod
    def options(self) -> Mapping[str, str]:
        """Return the ``-P`` options of the driver for this endpoint."""

    @abstractmethod
    def register(self, name: str) -> str:
        """Offer an image of the host (``CloudHost.add_image``) as if somebody had published it; return its id."""

    @abstractmethod
    def resources(self) -> list[str]:
        """Return everything that costs or clutters and still exists, as ``kind id``, sorted; the host's images not."""

    def close(self) -> None:  # noqa: B027 - most have nothing to do
        """Let go of everything."""
