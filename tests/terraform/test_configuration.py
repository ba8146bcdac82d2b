"""What the Terraform code would make, planned by the real provider against moto."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bakeroll.core.errors import PlanError
from bakeroll.core.process import Tool
from bakeroll.core.terraform import workspace
from bakeroll.core.terraform.commands import Commands
from bakeroll.core.terraform.workspace import Workspace
from tests.terraform_support import (
    ACCOUNT_ID,
    REGION,
    ROOT,
    Cloud,
    moto_cloud,
    provider_mirror,
    require,
    require_terraform,
)

TERRAFORM = ROOT / "terraform"
ENVIRONMENTS = ["development", "production", "staging"]
FILES = ["ami.tf", "main.tf", "outputs.tf", "provider.tf", "variables.tf"]
IMAGE = "ami-0123456789abcdef0"
BOUNDARY = f"arn:aws:iam::{ACCOUNT_ID}:policy/bakeroll/policies/development-instances"


class Planner:
    """Plans root modules, each in one copy that is initialised once, and gives the plans' documents."""

    def __init__(self, cloud: Cloud, copies: ExitStack) -> None:
        self.cloud = cloud
        self._copies = copies
        self.lines: list[str] = []
        self._roots: dict[str, tuple[Commands, Workspace]] = {}

    def plan(self, root: str, variables: Mapping[str, str]) -> dict[str, Any]:
        if root not in self._roots:
            self._roots[root] = self._initialised(root)
        commands, copy = self._roots[root]
        given = [f"-var={name}={value}" for name, value in variables.items()]
        commands.say("plan", "-json", "-out=plan", *copy.variable_files(), *given)
        document: dict[str, Any] = commands.read("show", "-json", "plan")
        return document

    def _initialised(self, root: str) -> tuple[Commands, Workspace]:
        copy = self._copies.enter_context(workspace.copied(TERRAFORM / root))
        commands = Commands(
            environment=root,
            binary=require_terraform(),
            folder=copy.root,
            scratch=copy.private,
            config_file=copy.top / "test.tfrc",
            aws=self.cloud.aws,
            tool=Tool(),
            on_line=self.lines.append,
        )
        state = {"bucket": "state", "key": root, "region": REGION, "use_path_style": "true"}
        commands.init(
            {} if root == "bootstrap" else state, git={}
        )  # which has no backend, as it makes the bucket
        return commands, copy


@pytest.fixture(scope="module")
def planner() -> Iterator[Planner]:
    require_terraform()
    with pytest.MonkeyPatch.context() as patch, moto_cloud() as cloud:
        for name, value in provider_mirror().items():
            patch.setenv(name, value)
        cloud.make_bucket("state")
        make_network(cloud)
        with ExitStack() as copies:
            yield Planner(cloud, copies)


def make_network(cloud: Cloud) -> None:
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.create_tags(Resources=[vpc], Tags=[{"Key": "bakeroll:network", "Value": "bakeroll"}])
    for number, tier in enumerate(["public", "public", "private", "private"]):
        subnet = ec2.create_subnet(
            VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"{REGION}{'ac'[number % 2]}"
        )["Subnet"]["SubnetId"]
        ec2.create_tags(Resources=[subnet], Tags=[{"Key": "bakeroll:subnet-tier", "Value": tier}])


def resources(module: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from resources(child)


def one(document: Mapping[str, Any], kind: str) -> dict[str, Any]:
    found = [
        entry.get("values", {})  # a policy's only value is not known yet
        for entry in resources(document["planned_values"]["root_module"])
        if entry["type"] == kind and entry["mode"] == "managed"
    ]
    assert len(found) == 1, kind
    return dict(found[0])


@pytest.mark.terraform
def test_is_formatted() -> None:
    done = subprocess.run(
        [require_terraform(), "fmt", "-check", "-recursive", "-diff", str(TERRAFORM)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_environments_share_their_files(environment: str) -> None:
    folder = TERRAFORM / "environments" / environment
    assert sorted(path.name for path in folder.glob("*.tf")) == FILES
    for name in FILES:
        assert (folder / name).readlink() == Path("..", "common", name)
    assert f'environment = "{environment}"' in (folder / "terraform.tfvars").read_text()


def test_every_variable_and_output_is_described_and_typed() -> None:
    for file in TERRAFORM.rglob("*.tf"):
        blocks = re.findall(
            r'^(variable|output) "(\w+)" \{(.*?)^\}', file.read_text(), re.MULTILINE | re.DOTALL
        )
        for kind, name, body in blocks:
            assert "description = " in body, (file, name)
            assert kind == "output" or re.search(r"^  type +=", body, re.MULTILINE), (file, name)


@pytest.fixture(scope="module")
def development(planner: Planner) -> dict[str, Any]:
    return planner.plan(
        "environments/development",
        {
            "application_ami_id": IMAGE,
            "min_size_floor": '{"web": 3}',
            "max_size_floor": '{"web": 6}',
            "permissions_boundary_arn": BOUNDARY,
        },
    )


@pytest.mark.terraform
def test_fleets_are_what_the_policies_of_deployments_expect(development: dict[str, Any]) -> None:
    role, profile = one(development, "aws_iam_role"), one(development, "aws_iam_instance_profile")
    assert role["permissions_boundary"] == BOUNDARY
    for values in (role, profile):
        assert (values["path"], values["name"]) == ("/bakeroll/development/", "development-web")
    tagged = [
        entry["values"]["tags"]
        for entry in resources(development["planned_values"]["root_module"])
        if entry["type"] in {"aws_launch_template", "aws_security_group"}
    ]
    assert [tags["bakeroll:environment"] for tags in tagged] == ["development"] * 3
    for specification in one(development, "aws_launch_template")["tag_specifications"]:
        assert specification["tags"]["bakeroll:environment"] == "development"
        assert "bakeroll:layer" not in specification["tags"]  # else a bake might end the instance


@pytest.mark.terraform
def test_the_group_keeps_to_its_contract(development: dict[str, Any]) -> None:
    group = one(development, "aws_autoscaling_group")
    assert group["name"] == "development-web"
    assert (group["min_size"], group["max_size"]) == (3, 6)
    assert group["wait_for_capacity_timeout"] == "0"
    assert group["health_check_type"] == "ELB"
    # The hook exists from the group's first moment, and is managed where it can change in place.
    initial = group["initial_lifecycle_hook"][0]
    hook = one(development, "aws_autoscaling_lifecycle_hook")
    for attribute in ("name", "lifecycle_transition", "heartbeat_timeout", "default_result"):
        assert initial[attribute] == hook[attribute]
    assert hook["lifecycle_transition"] == "autoscaling:EC2_INSTANCE_TERMINATING"
    assert hook["default_result"] == "ABANDON"
    assert hook["heartbeat_timeout"] > 300


@pytest.mark.terraform
def test_a_hook_does_by_itself_what_deployments_do(planner: Planner) -> None:
    sizes = {"instance_type": "t3.small", "min_size": 1, "max_size": 2}
    planned = planner.plan(
        "environments/development",
        {
            "application_ami_id": IMAGE,
            "drain": '{"on_failure": "continue"}',
            "fleets": json.dumps({"web": sizes, "worker": {**sizes, "on_failure": "retain"}}),
        },
    )
    hooks = {
        entry["values"]["autoscaling_group_name"].partition("-")[2]: entry["values"]["default_result"]
        for entry in resources(planned["planned_values"]["root_module"])
        if entry["type"] == "aws_autoscaling_lifecycle_hook"
    }
    assert hooks == {"web": "CONTINUE", "worker": "ABANDON"}


@pytest.mark.terraform
def test_people_can_be_told_of_drains_that_failed(development: dict[str, Any]) -> None:
    names = {
        entry["values"]["name"]
        for entry in resources(development["planned_values"]["root_module"])
        if entry["type"] == "aws_sns_topic"
    }
    assert names == {"development-terminations", "development-drain-failures"}


@pytest.mark.terraform
def test_instances_are_launched_safely(development: dict[str, Any]) -> None:
    template = one(development, "aws_launch_template")
    assert template["image_id"] == IMAGE
    assert template["update_default_version"] is True
    assert template["metadata_options"][0]["http_tokens"] == "required"
    assert template["block_device_mappings"][0]["ebs"][0]["encrypted"] == "true"
    assert {entry["resource_type"] for entry in template["tag_specifications"]} == {"instance", "volume"}


@pytest.mark.terraform
def test_instances_may_do_what_the_ssm_agent_needs_and_no_more(development: dict[str, Any]) -> None:
    policy = json.loads(one(development, "aws_iam_role_policy")["policy"])
    actions = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert "ssm:UpdateInstanceInformation" in actions
    assert {action.split(":")[0] for action in actions} == {"ssm", "ssmmessages", "ec2messages"}
    assert [action for action in actions if action.startswith("ssm:")] == ["ssm:UpdateInstanceInformation"]
    assert not any("*" in action for action in actions)
    assert not [c for c in development["resource_changes"] if c["type"] == "aws_iam_role_policy_attachment"]


@pytest.mark.terraform
def test_no_instance_boots_before_it_may_reach_and_be_reached(development: dict[str, Any]) -> None:
    fleet = development["configuration"]["root_module"]["module_calls"]["fleet"]["module"]["resources"]
    (group,) = [entry for entry in fleet if entry["type"] == "aws_autoscaling_group"]
    assert set(group["depends_on"]) >= {
        "aws_iam_role_policy.ssm_agent",
        "aws_iam_role_policy_attachment.additional",
        "aws_vpc_security_group_egress_rule.all",
        "aws_vpc_security_group_ingress_rule.load_balancer",
    }


@pytest.mark.terraform
def test_developments_targets_are_checked_quickly(development: dict[str, Any]) -> None:
    group = one(development, "aws_lb_target_group")
    assert int(group["deregistration_delay"]) <= 10
    check = group["health_check"][0]
    assert (check["path"], check["interval"], check["healthy_threshold"]) == ("/health", 5, 2)
    assert one(development, "aws_sqs_queue")["sqs_managed_sse_enabled"] is True


@pytest.mark.terraform
def test_an_image_that_is_given_is_not_looked_up(development: dict[str, Any]) -> None:
    assert not [change for change in development["resource_changes"] if change["type"] == "aws_ami"]
    prior = resources(development["prior_state"]["values"]["root_module"])
    assert not [entry for entry in prior if entry["type"] == "aws_ami"]


@pytest.mark.terraform
def test_without_one_the_newest_released_image_is_taken(planner: Planner) -> None:
    ec2 = planner.cloud.client("ec2")
    images = {}
    for name, released in (("old", "released"), ("new", "released"), ("bad", "rejected")):
        image = ec2.register_image(
            Name=name, RootDeviceName="/dev/xvda", Architecture="x86_64", VirtualizationType="hvm"
        )["ImageId"]
        tags = {"bakeroll:layer": "application", "bakeroll:staging": released}
        ec2.create_tags(Resources=[image], Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
        images[name] = image
    found = one(planner.plan("environments/staging", {}), "aws_launch_template")["image_id"]
    assert found in {images["old"], images["new"]}  # moto gives both the same creation date


def refused_by(planner: Planner, root: str, variables: Mapping[str, Any]) -> str:
    """Plan with wrong values and give all that Terraform says: it complains of all of a module's at once."""
    given = {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in variables.items()
    }
    planner.lines.clear()
    with pytest.raises(PlanError, match="Invalid value for variable"):
        planner.plan(root, given)
    return "\n".join(planner.lines)


def refused(planner: Planner, variables: Mapping[str, Any]) -> str:
    return refused_by(planner, "environments/development", {"application_ami_id": IMAGE, **variables})


@pytest.mark.terraform
def test_wrong_values_are_refused(planner: Planner) -> None:
    said = refused(
        planner,
        {
            "environment": "with-hyphen",
            "network": "*",
            "min_size_floor": {"wbe": 1},
            "drain": {"heartbeat_timeout_seconds": 60, "on_failure": "ABANDON"},
            "load_balancer": {"target_port": 80, "health_check": {"path": "health"}},
            "tags": {f"t{number}": "" for number in range(48)},
        },
    )
    for complaint in (
        "environment must be 1 to 32 lower case letters, digits and underscores",
        "network must be a tag's value",
        "min_size_floor names a fleet that is not in fleets",
        "must be more than 300",
        "drain.on_failure must be retain or continue",
        "health_check.path must begin with a slash",
        "tags must be at most 47",
    ):
        assert complaint in said


@pytest.mark.terraform
def test_values_that_the_modules_cannot_use_are_refused(planner: Planner) -> None:
    said = refused(
        planner,
        {
            "min_size_floor": {"web-1": 1.5},
            "drain": {
                "heartbeat_timeout_seconds": 7201,
                "rpc_endpoint": "http://localhost:70000",
            },
            "tags": {"aws:owner": "a<b"},
            "load_balancer": {
                "target_port": 0,
                "http_port": 443,
                "certificate_arn": f"arn:aws:acm:{REGION}:{ACCOUNT_ID}:certificate/c",
                "ingress_cidr_blocks": ["10.0.0.1/8"],
                "health_check": {"path": "/", "matcher": "500"},
            },
            "fleets": {
                "web-1": {
                    "instance_type": "t3.small",
                    "min_size": 1,
                    "max_size": 1,
                    "root_volume": {"type": "io1"},
                }
            },
        },
    )
    for complaint in (
        "min_size_floor must be a whole number",
        "must be a whole number, 30 to 7200",
        "rpc_endpoint must look like",
        "nor begin with aws:",
        "tags must have values",
        "must be a port number",
        "http_port must not be 443",
        "by their first address",
        "HTTP codes from 200 to 499",
        "a fleet's name must be 1 to 32",
        "must be gp2, gp3 or standard",
    ):
        assert complaint in said


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("a", True), ("web_2", True), ("a" * 32, True), ("awe", True), ("sgx", True), ("internal", True),
        ("a" * 33, False), ("web_", False), ("a-b", False), ("2a", False), ("A", False), ("", False),
        ("internal_x", False), ("amazonas", False), ("aws1", False), ("amzn", False), ("sg", False),
        ("sg_a", False),
    ],
)  # fmt: skip
def test_an_environments_name_is_one_that_aws_takes_everywhere(name: str, accepted: bool) -> None:
    text = (TERRAFORM / "environments/common/variables.tf").read_text()
    block = re.search(r'^variable "environment" \{.*?^\}', text, re.MULTILINE | re.DOTALL)
    assert block is not None
    wanted, reserved = re.findall(r'regex\("(.*?)", var\.environment\)', block.group())
    assert bool(re.search(wanted, name) and not re.search(reserved, name)) is accepted


@pytest.mark.terraform
def test_the_longest_names_are_accepted_and_longer_ones_refused(planner: Planner) -> None:
    fleet = {"instance_type": "t3.small", "min_size": 1, "max_size": 1}
    environment = "e" * 32
    variables = {
        "application_ami_id": IMAGE,
        "environment": environment,
        "fleets": json.dumps({"f" * 31: fleet}),
    }
    planned = planner.plan("environments/development", variables)
    assert one(planned, "aws_iam_role")["name"] == f"{environment}-{'f' * 31}"
    assert one(planned, "aws_lb")["name"] == environment
    with pytest.raises(PlanError, match="at most 63 characters together"):
        planner.plan("environments/development", variables | {"fleets": json.dumps({"f" * 32: fleet})})


@pytest.fixture(scope="module")
def document(development: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(one(development, "aws_ssm_document")["content"])
    return content


@pytest.mark.terraform
def test_the_document_refuses_what_could_end_its_quotes(document: dict[str, Any]) -> None:
    wanted = {"StopUnits", "TimeoutSeconds", "RpcEndpoint", "MonitorEndpoint", "PosFiles"}
    assert set(document["parameters"]) == wanted
    for name, parameter in document["parameters"].items():
        assert parameter["type"] == "String"
        pattern = re.compile(parameter["allowedPattern"])
        assert pattern.search(parameter["default"]), name
        for evil in ("'; reboot; '", "$(reboot)", "a'b", "-x", "`reboot`", "a\nb", "a b;c"):
            assert not pattern.search(evil), (name, evil)
    assert re.search(document["parameters"]["StopUnits"]["allowedPattern"], "web.service worker@1.service")


@pytest.mark.terraform
def test_the_document_runs_as_ssm_fills_it_in(document: dict[str, Any]) -> None:
    require("curl")
    step = document["mainSteps"][0]
    assert (document["schemaVersion"], step["action"]) == ("2.2", "aws:runShellScript")
    text = "\n".join(step["inputs"]["runCommand"])
    values = {name: parameter["default"] for name, parameter in document["parameters"].items()}
    values |= {"TimeoutSeconds": "1", "MonitorEndpoint": "http://127.0.0.1:9", "PosFiles": ""}
    for name, value in values.items():
        text = text.replace(f"{{{{ {name} }}}}", value)
    assert "{{" not in text
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 4, done.stderr
    assert done.stdout.startswith('{"bakeroll_receipt": {')


@pytest.mark.terraform
def test_the_network_has_public_and_private_subnets_in_two_zones(planner: Planner) -> None:
    document = planner.plan(".", {})
    found = list(resources(document["planned_values"]["root_module"]))
    subnets = [entry["values"] for entry in found if entry["type"] == "aws_subnet"]
    assert len({subnet["cidr_block"] for subnet in subnets}) == 4
    for tier in ("public", "private"):
        zones = {s["availability_zone"] for s in subnets if s["tags"]["bakeroll:subnet-tier"] == tier}
        assert len(zones) == 2
    assert sum(entry["type"] == "aws_nat_gateway" for entry in found) == 1


@pytest.mark.terraform
def test_the_state_bucket_is_private_encrypted_and_forgets_plans(planner: Planner) -> None:
    variables = {"region": REGION, "account_id": ACCOUNT_ID, "bucket_name": "example"}
    document = planner.plan("bootstrap", variables)
    access = one(document, "aws_s3_bucket_public_access_block")
    assert all(
        access[name] for name in ("block_public_acls", "block_public_policy", "restrict_public_buckets")
    )
    assert one(document, "aws_s3_bucket_versioning")["versioning_configuration"][0]["status"] == "Enabled"
    assert one(document, "aws_s3_bucket_server_side_encryption_configuration")
    assert one(document, "aws_s3_bucket_policy") is not None
    rules = {rule["id"]: rule for rule in one(document, "aws_s3_bucket_lifecycle_configuration")["rule"]}
    assert rules["expire-plans"]["filter"][0]["prefix"] == "plans/"
    assert rules["expire-plans"]["expiration"][0]["days"] == 14
    assert rules["expire-noncurrent-versions"]["noncurrent_version_expiration"][0]["noncurrent_days"] == 90


@pytest.mark.terraform
def test_credentials_of_another_account_are_refused(planner: Planner) -> None:
    variables = {"application_ami_id": IMAGE, "account_id": "999999999999"}
    with pytest.raises(PlanError, match="AWS account ID not allowed: 123456789012"):
        planner.plan("environments/development", variables)
