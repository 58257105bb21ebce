"""Google Cloud on this host: Compute Engine, Cloud Storage and the token service, as far as kola uses them.

There is an emulator of Cloud Storage, but it takes every token, cannot stand behind the gate that injects faults, and
refuses what Google accepts: a piece of an upload that is sent again because its answer was lost.
"""

from rehearsal.gcp.frontend import Gcp

FRONT_END = Gcp
