"""What the policy of the docs allows, and what it does not: evaluated as IAM does, as far as it goes."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

POLICY = json.loads((Path(__file__).parents[2] / "docs" / "aws-policy.json").read_text())
ACCOUNT = "123456789012"
INSTANCE = f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/i-1"
SNAPSHOT = "arn:aws:ec2:us-east-1::snapshot/snap-1"
OURS = {"aws:ResourceTag/kola-run": "run1"}


def holds(operator: str, key: str, wanted: Any, context: dict[str, str]) -> bool:
    """Tell whether one condition of a statement holds; an operator that is unknown here is an error."""
    if operator == "Null":
        return (key not in context) is (wanted == "true")
    assert operator in {"StringEquals", "StringEqualsIfExists"}, operator
    if key not in context:
        return operator.endswith("IfExists")
    values = [wanted] if isinstance(wanted, str) else wanted
    return context[key] in [value.replace("${aws:PrincipalAccount}", ACCOUNT) for value in values]


def allows(action: str, resource: str, context: dict[str, str] | None = None) -> bool:
    """Tell whether any statement allows a call."""

    def does(statement: dict[str, Any]) -> bool:
        resources = statement["Resource"]
        resources = [resources] if isinstance(resources, str) else resources
        return (
            action in statement["Action"]
            and any(fnmatchcase(resource, pattern) for pattern in resources)
            and all(
                holds(operator, key, wanted, context or {})
                for operator, conditions in statement.get("Condition", {}).items()
                for key, wanted in conditions.items()
            )
        )

    assert all(statement["Effect"] == "Allow" for statement in POLICY["Statement"])
    return any(map(does, POLICY["Statement"]))


@pytest.mark.parametrize("action", ["TerminateInstances", "StopInstances", "GetConsoleOutput", "CreateTags"])
def test_only_what_kola_made_is_changed(action: str) -> None:
    assert allows(f"ec2:{action}", INSTANCE, OURS)
    assert not allows(f"ec2:{action}", INSTANCE)
    # Nor does one make it kola's by a tag.
    assert not allows(f"ec2:{action}", INSTANCE, {"aws:RequestTag/kola-run": "run1"})


@pytest.mark.parametrize("call", ["RunInstances", "CreateSecurityGroup", "ImportSnapshot", "RegisterImage"])
def test_what_is_made_is_tagged_by_the_call_that_makes_it(call: str) -> None:
    assert allows("ec2:CreateTags", INSTANCE, {"ec2:CreateAction": call, "aws:RequestTag/kola-run": "run1"})


def test_a_snapshot_of_an_import_is_tagged_then_deleted() -> None:
    assert not allows("ec2:DeleteSnapshot", SNAPSHOT)
    assert allows("ec2:CreateTags", SNAPSHOT, {"aws:RequestTag/kola-run": "run1"})
    assert not allows("ec2:CreateTags", SNAPSHOT, {"aws:RequestTag/other": "x"})
    assert allows("ec2:DeleteSnapshot", SNAPSHOT, OURS)


@pytest.mark.parametrize("action", ["PutObject", "GetObject", "DeleteObject"])
def test_buckets_of_other_accounts_are_left_alone(action: str) -> None:
    key = "arn:aws:s3:::kola-1-us-east-1/key"
    assert allows(f"s3:{action}", key, {"aws:ResourceAccount": ACCOUNT})
    assert not allows(f"s3:{action}", key, {"aws:ResourceAccount": "999999999999"})
    assert not allows(f"s3:{action}", "arn:aws:s3:::other/key", {"aws:ResourceAccount": ACCOUNT})
