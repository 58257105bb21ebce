"""What the path of a call to ARM means. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from rehearsal.azure.kinds import GROUP, TYPES, ArmError, Type

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
_OPERATIONS = {
    "Microsoft.Compute": {
        "operations": "Microsoft.Compute/locations/operations/read",
        "capsOperations": "Microsoft.Compute/locations/capsOperations/read",
    },
    "Microsoft.Network": {"operations": "Microsoft.Network/locations/operations/read"},
    "Microsoft.Storage": {"asyncoperations": "Microsoft.Storage/operations/read"},
}
"""Under which names a provider's locations have its long operations, and what reading them takes."""
_VERBS = {"PUT": "CreateOrUpdate", "PATCH": "Update", "DELETE": "Delete", "POST": "Post", "GET": "Get"}
_ROOT = f"/subscriptions/{SUBSCRIPTION}"


@dataclass(frozen=True)
class Target:
    """What a path means.

    Attributes:
        kind: the type; None: none of a resource, then ``id`` is the name of the call.
        id: of a resource, or of what the listed ones are in.
        listing: it is a list of them.
        action: posted to a resource.
        permission: what reading it takes, where that does not follow from the type.
    """

    kind: Type | None
    id: str
    listing: bool = False
    action: str = ""
    permission: str = ""

    def call(self, method: str) -> str:
        """Return the name of a call."""
        if self.kind is None:
            return self.id
        if self.action:
            return f"{self.kind.label}.{self.action[0].upper()}{self.action[1:]}"
        return f"{self.kind.label}.{'List' if self.listing else _VERBS.get(method, method)}"


def target(path: str) -> Target:
    """Understand a path; the case of what is not a name does not matter.

    Raises:
        ArmError: it means nothing here.
    """
    found: Target | None
    match path.strip("/").split("/"):
        case ["subscriptions", subscription, *_] if subscription.lower() != SUBSCRIPTION:
            raise ArmError(404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found.")
        case ["subscriptions", _, groups] if groups.lower() == GROUP.name.lower():
            return Target(GROUP, _ROOT, listing=True)
        case ["subscriptions", _, groups, name] if groups.lower() == GROUP.name.lower():
            return Target(GROUP, f"{_ROOT}/resourceGroups/{name}")
        case ["subscriptions", _, "operationresults", _]:
            found = Target(None, "Operations.Get", permission="Microsoft.Resources/subscriptions/operationresults/read")
        case ["subscriptions", _, "providers", provider, *rest]:
            found = _outside(provider.lower(), [part.lower() for part in rest])
        case ["subscriptions", _, _, group, "providers", provider, *rest]:
            found = _inside(f"{_ROOT}/resourceGroups/{group}", provider.lower(), rest)
        case _:
            found = None
    if found is None:
        raise ArmError(404, "InvalidResourceType", f"The resource type could not be found: {path}")
    return found


def operation(kind: Type, location: str, number: int) -> str:
    """Return the path of a long operation, as far as Azure's own paths are known."""
    if kind is GROUP:
        return f"{_ROOT}/operationresults/{number}"
    provider = provider_of(kind)
    names = list(_OPERATIONS[provider])
    name = names[-1] if kind.name.startswith("galleries") else names[0]
    return f"{_ROOT}/providers/{provider}/locations/{location}/{name}/{number}"


def provider_of(kind: Type) -> str:
    """Return the provider of a type that is not the group's."""
    return next(name for name, types in TYPES.items() if kind in types.values())


def _outside(provider: str, rest: list[str]) -> Target | None:
    """Understand what is asked of a provider itself."""
    match rest:
        case []:
            return Target(None, "Providers.Get", permission="Microsoft.Resources/subscriptions/providers/read")
        case ["locations", _, name, _]:
            for known, permission in _OPERATIONS.get(_types(provider)[0], {}).items():
                if known.lower() == name:
                    return Target(None, "Operations.Get", permission=permission)
        case ["skus"] if provider == "microsoft.compute":
            return Target(None, "ResourceSkus.List", permission="Microsoft.Compute/skus/read")
        case [kind] if kind in _types(provider)[1]:
            return Target(_types(provider)[1][kind], _ROOT, listing=True)
    return None


def _inside(group: str, provider: str, rest: list[str]) -> Target | None:
    """Understand what is asked of resources in a group: types and names in turns, and perhaps an action."""
    spelled, types = _types(provider)
    base = f"{group}/providers/{spelled}"
    kind = types.get("/".join(rest[::2]).lower())
    if kind is not None:
        listing = len(rest) % 2 == 1
        pairs = zip(kind.name.split("/"), rest[1::2], strict=False)  # a list has one name less
        path = "".join(f"/{one}/{name}" for one, name in pairs)
        return Target(kind, base + path if path else group, listing=listing)
    *names, action = rest
    owner = types.get("/".join(names[::2]).lower())
    posted = next((one for one in owner.actions if one.lower() == action.lower()), "") if owner else ""
    if owner is None or not posted:
        return None
    path = "".join(f"/{one}/{name}" for one, name in zip(owner.name.split("/"), names[1::2], strict=True))
    return Target(owner, base + path, action=posted)


def _types(provider: str) -> tuple[str, dict[str, Type]]:
    return next(((name, dict(of)) for name, of in TYPES.items() if name.lower() == provider), ("", {}))
