"""The policies of terraform/modules/iam against the calls that deployments made on the sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.terraform.authorizations import (
    BOUNDARY,
    BUCKET,
    BUILD,
    EC2,
    ENVIRONMENT,
    FAILURES,
    FILES,
    GROUP,
    IMAGE,
    INSTANCE,
    OURS,
    ROLE,
    TOPIC,
    UNUSED,
    asked,
    each,
    of,
    requests,
)
from tests.terraform.policy_evaluation import Policies, Request
from tests.terraform.recorded_calls import recorded
from tests.terraform.test_configuration import Planner, one, refused_by, resources
from tests.terraform_support import ACCOUNT_ID, REGION, moto_cloud, provider_mirror, require_terraform

pytestmark = pytest.mark.terraform

AIRFLOW_ROLE = f"arn:aws:iam::{ACCOUNT_ID}:role/airflow"
WEB_POLICY = f"arn:aws:iam::{ACCOUNT_ID}:policy/web"
VARIABLES = {
    "environment": ENVIRONMENT,
    "region": REGION,
    "account_id": ACCOUNT_ID,
    "state_bucket": BUCKET,
    "trusted_arns": json.dumps([AIRFLOW_ROLE]),
    "instance_policy_arns": json.dumps([WEB_POLICY]),
    "instance_actions": json.dumps(["s3:GetObject"]),
}
NEEDS = {
    "packer": ("look", "bake"),
    "terraform": ("look", "terraform", "state"),
    "airflow": ("look", "bake", "rollout", "state"),
}
"""Who acts by which policies; all of them have the same principal unless an organisation splits it."""


@pytest.fixture(scope="module")
def planner() -> Iterator[Planner]:
    require_terraform()
    with pytest.MonkeyPatch.context() as patch, moto_cloud() as cloud:
        for name, value in provider_mirror().items():
            patch.setenv(name, value)
        cloud.make_bucket("state")
        with ExitStack() as copies:
            yield Planner(cloud, copies)


@pytest.fixture(scope="module")
def plan(planner: Planner) -> dict[str, Any]:
    return planner.plan("access", VARIABLES)


@pytest.fixture(scope="module")
def least(planner: Planner) -> dict[str, Any]:
    """Give the plan of those who declare nothing that is not needed."""
    empty = {"trusted_arns": "[]", "instance_actions": "[]", "instance_policy_arns": "[]"}
    return planner.plan("access", {**VARIABLES, **empty})


def policies_of(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = {
        entry["values"]["name"].removeprefix(f"{ENVIRONMENT}-"): json.loads(entry["values"]["policy"])
        for entry in resources(plan["planned_values"]["root_module"])
        if entry["type"] == "aws_iam_policy"
    }
    assert set(found) == {"look", "bake", "terraform", "rollout", "state", "instances"}
    return found


@pytest.fixture(scope="module")
def documents(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return policies_of(plan)


@pytest.fixture(scope="module")
def policies(documents: dict[str, dict[str, Any]]) -> dict[str, Policies]:
    return {who: Policies(documents[name] for name in names) for who, names in NEEDS.items()}


def test_every_recorded_call_is_allowed(policies: dict[str, Policies]) -> None:
    refused = [
        f"{who} {call}: {request}"
        for who, calls in recorded().items()
        for call in calls
        for request in requests(who, call)
        if not policies[who].allow(request)
    ]
    assert refused == []


def test_nothing_is_allowed_without_a_reason(policies: dict[str, Policies]) -> None:
    used = {
        request.action
        for who, calls in recorded().items()
        for call in calls
        for request in requests(who, call)
    }
    allowed = set().union(*(each.actions for each in policies.values()))
    reasons = {action for actions in UNUSED.values() for action in actions}
    assert allowed - used == reasons
    assert not [action for action in allowed if "*" in action]


def test_what_is_allowed_without_being_recorded_can_be_used(policies: dict[str, Policies]) -> None:
    """A condition or resource that nothing meets would show in an account only, years later."""
    for action in (action for actions in UNUSED.values() for action in actions):
        call = action.replace("elasticloadbalancing:", "elbv2:")
        who = [name for name, each in policies.items() if action in each.actions]
        assert who
        for name in who:
            assert [r for r in requests(name, call) if not policies[name].allow(r)] == [], (name, action)


OTHER = {"bakeroll:environment": "production"}
TO_EC2 = {"iam:PassedToService": "ec2.amazonaws.com"}
REFUSED = {
    "another environment's group": (
        "airflow",
        each("autoscaling:UpdateAutoScalingGroup", GROUP.replace("staging-web", "production-web")),
    ),
    "an environment whose name begins alike": (
        "airflow",
        each("autoscaling:UpdateAutoScalingGroup", GROUP.replace("staging-web", "staging_eu-web")),
    ),
    "another environment's instances": (
        "airflow",
        [Request("ssm:SendCommand", INSTANCE, of(OTHER, where="ssm:resourceTag"))],
    ),
    "a message to another environment's people, or of another kind to ours": (
        "airflow",
        each("sns:Publish", FAILURES.replace("staging", "production"), TOPIC),
    ),
    "a shell on ours": (
        "airflow",
        each("ssm:SendCommand", f"arn:aws:ssm:{REGION}::document/AWS-RunShellScript"),
    ),
    "another environment's state, plan and journal": (
        "airflow",
        each(
            "s3:GetObject",
            f"{FILES}/terraform/production/terraform.tfstate",
            f"{FILES}/plans/production/run/plan",
            f"{FILES}/journal/production.json",
            f"{FILES}/terraform/access/staging.tfstate",
        ),
    ),
    "a state, plan or release that goes": (
        "terraform",
        each(
            "s3:DeleteObject",
            f"{FILES}/terraform/staging/terraform.tfstate",
            f"{FILES}/plans/staging/run/plan",
            f"{FILES}/releases/staging/1.json",
        ),
    ),
    "another environment's judgement of an image": (
        "airflow",
        [Request("ec2:CreateTags", f"{EC2}:instance/i-0", asked({"bakeroll:production": "released"}))],
    ),
    "a fleet's instance ended by a bake": (
        "packer",
        [
            Request("ec2:TerminateInstances", INSTANCE, of(OURS)),
            Request("ec2:TerminateInstances", INSTANCE),
        ],
    ),
    "a build instance without its tag": (
        "packer",
        [Request("ec2:RunInstances", INSTANCE, asked({"Name": "x"})), Request("ec2:RunInstances", INSTANCE)],
    ),
    "an image that is not ours removed": (
        "packer",
        [Request("ec2:DeregisterImage", IMAGE, of({"bakeroll:layer": "golden"}))],
    ),
    "a build instance with a role": (
        "packer",
        [Request("iam:PassRole", ROLE, TO_EC2)],
    ),
    "a fleet's security group changed by a bake": (
        "packer",
        [
            Request(
                "ec2:AuthorizeSecurityGroupIngress",
                f"{EC2}:security-group/sg-0",
                of({**OURS, "Name": "staging-web"}),
            )
        ],
    ),
    "another environment's security group": (
        "terraform",
        [
            Request("ec2:AuthorizeSecurityGroupIngress", f"{EC2}:security-group/sg-0", of(OTHER)),
            Request("ec2:DeleteLaunchTemplate", f"{EC2}:launch-template/lt-0", of(BUILD)),
        ],
    ),
    "more rights than the boundary": (
        "terraform",
        [
            Request("iam:CreateRole", ROLE),
            Request("iam:CreateRole", ROLE, {"iam:PermissionsBoundary": f"{BOUNDARY}-2"}),
            Request("iam:PutRolePolicy", ROLE),
            Request("iam:PutRolePermissionsBoundary", ROLE, {"iam:PermissionsBoundary": BOUNDARY}),
            Request("iam:DeleteRolePermissionsBoundary", ROLE, {"iam:PermissionsBoundary": BOUNDARY}),
            Request("iam:UpdateAssumeRolePolicy", ROLE),
            Request("iam:CreatePolicyVersion", BOUNDARY),
            Request(
                "iam:AttachRolePolicy",
                ROLE,
                {
                    "iam:PermissionsBoundary": BOUNDARY,
                    "iam:PolicyARN": "arn:aws:iam::aws:policy/AdministratorAccess",
                },
            ),
        ],
    ),
    "the deployer's own role": (
        "terraform",
        [
            Request(action, deployer, {"iam:PermissionsBoundary": BOUNDARY, **TO_EC2})
            for action in ("iam:PutRolePolicy", "iam:PassRole", "iam:DeleteRole")
            for deployer in (
                f"arn:aws:iam::{ACCOUNT_ID}:role/bakeroll/deployers/{ENVIRONMENT}-deployer",
                f"arn:aws:iam::{ACCOUNT_ID}:role/{ENVIRONMENT}-web",
            )
        ],
    ),
    "our role for another service": (
        "terraform",
        [Request("iam:PassRole", ROLE, {"iam:PassedToService": "lambda.amazonaws.com"})],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_nothing_else_is_allowed(what: str, policies: dict[str, Policies]) -> None:
    who, asked_for = REFUSED[what]
    assert [request for request in asked_for if policies[who].allow(request)] == []


def test_looking_on_changes_nothing(documents: dict[str, dict[str, Any]]) -> None:
    verbs = ("Describe", "Get", "List")
    actions = Policies([documents["look"]]).actions
    assert [action for action in actions if not action.split(":")[1].startswith(verbs)] == []


def test_instances_may_do_what_the_agent_needs_and_what_is_declared(
    documents: dict[str, dict[str, Any]], least: dict[str, Any]
) -> None:
    declared, undeclared = Policies([documents["instances"]]), Policies([policies_of(least)["instances"]])
    for action in ("ssm:UpdateInstanceInformation", "ssmmessages:OpenDataChannel", "ec2messages:GetMessages"):
        assert declared.allow(Request(action))
        assert undeclared.allow(Request(action))
    assert declared.allow(Request("s3:GetObject", f"{FILES}/x"))
    assert not declared.allow(Request("iam:CreateUser"))
    for action in ("s3:GetObject", "iam:CreateUser", "ssm:GetParameter", "ssm:SendCommand"):
        assert not undeclared.allow(Request(action, f"{FILES}/x"))


def test_policies_are_small_enough_for_aws(documents: dict[str, dict[str, Any]]) -> None:
    # Source: IAM user guide, "IAM and AWS STS quotas": 6,144 characters without white space
    sizes = {name: len("".join(json.dumps(document).split())) for name, document in documents.items()}
    assert {name: size for name, size in sizes.items() if size > 6144} == {}


def test_a_role_is_made_for_those_who_are_trusted_only(plan: dict[str, Any], least: dict[str, Any]) -> None:
    role = one(plan, "aws_iam_role")
    assert (role["path"], role["name"]) == ("/bakeroll/deployers/", f"{ENVIRONMENT}-deployer")
    (trust,) = json.loads(role["assume_role_policy"])["Statement"]
    assert (trust["Action"], trust["Principal"]) == ("sts:AssumeRole", {"AWS": AIRFLOW_ROLE})
    kinds = [entry["type"] for entry in resources(least["planned_values"]["root_module"])]
    assert set(kinds) == {"aws_iam_policy"}


def test_wrong_values_are_refused(planner: Planner) -> None:
    wrong = {
        **VARIABLES,
        "environment": "with-hyphen",
        "state_bucket": "With.Dot",
        "trusted_arns": '["*"]',
        "instance_actions": '["iam:CreateUser"]',
        "instance_policy_arns": '["web"]',
        "instance_resources": "[]",
    }
    said = refused_by(planner, "access", wrong)
    for complaint in (
        "environment must be 1 to 32",
        "state_bucket must be 3 to 63",
        "trusted_arns must be ARNs",
        "instance_actions must be actions",
        "instance_policy_arns must be ARNs",
        "instance_resources must be ARNs",
    ):
        assert complaint in said


def test_an_environments_state_is_not_that_of_the_policies(planner: Planner) -> None:
    said = refused_by(planner, "access", {**VARIABLES, "environment": "access"})
    assert "environment must not be access or network" in said
