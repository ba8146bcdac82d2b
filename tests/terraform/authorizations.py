"""What AWS asks of the policies for each API call that deployments make, in the environment `staging`.

An API call is not always an IAM action of the same name, and some need several. Sources: the service
authorization reference (https://docs.aws.amazon.com/service-authorization/latest/reference/) for actions,
resources and condition keys, and what is named beside a line.
"""

from __future__ import annotations

from tests.terraform.policy_evaluation import Request
from tests.terraform.recorded_calls import Recorded, recorded
from tests.terraform_support import ACCOUNT_ID, REGION

ENVIRONMENT = "staging"
BUCKET = "example-bakeroll-staging"
BOUNDARY = f"arn:aws:iam::{ACCOUNT_ID}:policy/bakeroll/policies/{ENVIRONMENT}-instances"

EC2 = f"arn:aws:ec2:{REGION}:{ACCOUNT_ID}"
INSTANCE, VOLUME = f"{EC2}:instance/i-0", f"{EC2}:volume/vol-0"
IMAGE, SNAPSHOT = f"arn:aws:ec2:{REGION}::image/ami-0", f"arn:aws:ec2:{REGION}::snapshot/snap-0"
GROUP = (
    f"arn:aws:autoscaling:{REGION}:{ACCOUNT_ID}:autoScalingGroup:1-2-3:autoScalingGroupName/{ENVIRONMENT}-web"
)
ELB = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT_ID}"
ROLE = f"arn:aws:iam::{ACCOUNT_ID}:role/bakeroll/{ENVIRONMENT}/{ENVIRONMENT}-web"
PROFILE = ROLE.replace(":role/", ":instance-profile/")
DOCUMENT = f"arn:aws:ssm:{REGION}:{ACCOUNT_ID}:document/{ENVIRONMENT}-drain"
RULE, TOPIC, QUEUE = (
    f"arn:aws:{service}:{REGION}:{ACCOUNT_ID}:{kind}{ENVIRONMENT}-terminations"
    for service, kind in (("events", "rule/"), ("sns", ""), ("sqs", ""))
)
FAILURES = TOPIC.replace("-terminations", "-drain-failures")
FILES = f"arn:aws:s3:::{BUCKET}"

OURS = {"bakeroll:environment": ENVIRONMENT}
LAYER = {"bakeroll:layer": "application"}
BUILD = {**LAYER, "Name": "packer application-0000000000000000-0"}


def of(tags: dict[str, str], *, where: str = "ec2:ResourceTag") -> dict[str, str]:
    """Give a resource's tags as condition keys."""
    return {f"{where}/{name}": value for name, value in tags.items()}


def asked(tags: dict[str, str], action: str | None = None) -> dict[str, str | list[str]]:
    """Give the tags that a request sets as condition keys."""
    keys: dict[str, str | list[str]] = {f"aws:RequestTag/{name}": value for name, value in tags.items()}
    return keys | {"aws:TagKeys": list(tags)} | ({"ec2:CreateAction": action} if action else {})


def each(action: str, *resources: str, **context: str) -> list[Request]:
    return [Request(action, resource, context) for resource in resources]


def launch(tags: dict[str, str]) -> list[Request]:
    """Give what a launch needs. Source: EC2 user guide, "Example policies to control access to EC2"."""
    made = [Request("ec2:RunInstances", resource, asked(tags)) for resource in (INSTANCE, VOLUME)]
    tagged = [
        Request("ec2:CreateTags", resource, asked(tags, "RunInstances")) for resource in (INSTANCE, VOLUME)
    ]
    used = [f"{EC2}:{what}" for what in ("subnet/subnet-0", "security-group/sg-0", "network-interface/eni-0")]
    return [*made, *tagged, *each("ec2:RunInstances", IMAGE, SNAPSHOT, *used)]


#: Auto Scaling asks whether whoever makes or changes a group could launch its template's instances.
#: Source: Auto Scaling user guide, "Control Amazon EC2 launch template usage in Auto Scaling groups"
PASS_ROLE = Request("iam:PassRole", ROLE, {"iam:PassedToService": "ec2.amazonaws.com"})
LAUNCH_FLEET = [*launch(OURS), Request("ec2:RunInstances", f"{EC2}:launch-template/lt-0"), PASS_ROLE]


def made_with_tags(action: str, kind: str) -> list[Request]:
    resource = f"{EC2}:{kind}/new"
    operation = action.removeprefix("ec2:")
    return [
        Request(action, resource, asked(OURS)),
        Request("ec2:CreateTags", resource, asked(OURS, operation)),
    ]


PACKER: dict[str, list[Request]] = {
    "ec2:RunInstances": [
        *launch(BUILD),
        Request("ec2:RunInstances", f"{EC2}:key-pair/packer_application-0000000000000000-0_0"),
    ],
    "ec2:StopInstances": [Request("ec2:StopInstances", INSTANCE, of(BUILD))],
    "ec2:TerminateInstances": [Request("ec2:TerminateInstances", INSTANCE, of(BUILD))],
    "ec2:DeleteVolume": [Request("ec2:DeleteVolume", VOLUME, of(BUILD))],
    "ec2:CreateImage": [
        Request("ec2:CreateImage", INSTANCE, of(BUILD)),
        *each("ec2:CreateImage", IMAGE, SNAPSHOT),
    ],
    "ec2:ModifyImageAttribute": [Request("ec2:ModifyImageAttribute", IMAGE)],
    "ec2:CreateTags": [
        Request("ec2:CreateTags", resource, asked({**LAYER, "bakeroll:fingerprint": "0", "Name": "x"}))
        for resource in (IMAGE, SNAPSHOT)
    ],
    # With DeleteAssociatedSnapshots AWS asks for the second as well.
    # Source: EC2 API reference, DeregisterImage
    "ec2:DeregisterImage": [
        Request("ec2:DeregisterImage", IMAGE),
        Request("ec2:DeleteSnapshot", SNAPSHOT, of(LAYER)),
    ],
    "ec2:DeleteSnapshot": [Request("ec2:DeleteSnapshot", SNAPSHOT)],
    "ec2:CreateKeyPair": [Request("ec2:CreateKeyPair", f"{EC2}:key-pair/packer_0")],
    "ec2:DeleteKeyPair": [Request("ec2:DeleteKeyPair", f"{EC2}:key-pair/packer_0")],
    "ec2:CreateSecurityGroup": each(
        "ec2:CreateSecurityGroup", f"{EC2}:vpc/vpc-0", f"{EC2}:security-group/new"
    ),
    "ec2:AuthorizeSecurityGroupIngress": [
        Request("ec2:AuthorizeSecurityGroupIngress", f"{EC2}:security-group/sg-0")
    ],
    "ec2:DeleteSecurityGroup": [
        Request("ec2:DeleteSecurityGroup", f"{EC2}:security-group/sg-0"),
        Request("ec2:DeleteSecurityGroup", f"{EC2}:security-group/sg-0", of(BUILD)),
    ],
}

LAUNCH_TEMPLATE, SECURITY_GROUP = (f"{EC2}:{kind}/0" for kind in ("launch-template", "security-group"))

TERRAFORM: dict[str, list[Request]] = {
    **{
        f"sns:{verb}": each(f"sns:{verb}", TOPIC, FAILURES)
        for verb in ("CreateTopic", "DeleteTopic", "GetTopicAttributes", "ListTagsForResource")
    },
    "autoscaling:CreateAutoScalingGroup": [
        Request("autoscaling:CreateAutoScalingGroup", GROUP),
        *LAUNCH_FLEET,
        Request(
            "iam:CreateServiceLinkedRole",
            f"arn:aws:iam::{ACCOUNT_ID}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
            {"iam:AWSServiceName": "autoscaling.amazonaws.com"},
        ),
    ],
    "autoscaling:UpdateAutoScalingGroup": [
        Request("autoscaling:UpdateAutoScalingGroup", GROUP),
        *LAUNCH_FLEET,
    ],
    "ec2:CreateLaunchTemplate": made_with_tags("ec2:CreateLaunchTemplate", "launch-template"),
    "ec2:CreateSecurityGroup": [
        Request("ec2:CreateSecurityGroup", f"{EC2}:vpc/vpc-0"),
        *made_with_tags("ec2:CreateSecurityGroup", "security-group"),
    ],
    # Source: ELB user guide, "Elastic Load Balancing API permissions"
    "elbv2:CreateLoadBalancer": [
        Request("elasticloadbalancing:CreateLoadBalancer", f"{ELB}:loadbalancer/app/{ENVIRONMENT}/0"),
        *(
            Request(f"ec2:Describe{what}")
            for what in (
                "AccountAttributes",
                "Addresses",
                "InternetGateways",
                "SecurityGroups",
                "Subnets",
                "Vpcs",
            )
        ),
        Request(
            "iam:CreateServiceLinkedRole",
            f"arn:aws:iam::{ACCOUNT_ID}:role/aws-service-role/elasticloadbalancing.amazonaws.com/"
            "AWSServiceRoleForElasticLoadBalancing",
            {"iam:AWSServiceName": "elasticloadbalancing.amazonaws.com"},
        ),
    ],
    "elbv2:CreateListener": each(
        "elasticloadbalancing:CreateListener", f"{ELB}:loadbalancer/app/{ENVIRONMENT}/0"
    ),
    "iam:AddRoleToInstanceProfile": [Request("iam:AddRoleToInstanceProfile", PROFILE), PASS_ROLE],
    "iam:AttachRolePolicy": [
        Request(
            "iam:AttachRolePolicy",
            ROLE,
            {"iam:PermissionsBoundary": BOUNDARY, "iam:PolicyARN": f"arn:aws:iam::{ACCOUNT_ID}:policy/web"},
        )
    ],
    **{
        f"iam:{action}": [Request(f"iam:{action}", ROLE, {"iam:PermissionsBoundary": BOUNDARY})]
        for action in ("CreateRole", "PutRolePolicy", "DeleteRolePolicy", "DetachRolePolicy")
    },
    "s3:DeleteObject": each("s3:DeleteObject", f"{FILES}/terraform/{ENVIRONMENT}/terraform.tfstate.tflock"),
    "s3:GetObject": each("s3:GetObject", f"{FILES}/terraform/{ENVIRONMENT}/terraform.tfstate"),
    "s3:PutObject": each(
        "s3:PutObject",
        f"{FILES}/terraform/{ENVIRONMENT}/terraform.tfstate",
        f"{FILES}/terraform/{ENVIRONMENT}/terraform.tfstate.tflock",
    ),
}

KEPT = [
    f"{FILES}/{key}"
    for key in (
        f"journal/{ENVIRONMENT}.json",
        f"drains/{ENVIRONMENT}/i-0.json",
        f"fleets/{ENVIRONMENT}.json",
        f"releases/{ENVIRONMENT}/1-run.json",
        f"plans/{ENVIRONMENT}/run/plan",
        "inputs/base/0.json",
        f"leases/bakes/{ACCOUNT_ID}/{REGION}/0.json",
        f"terraform/{ENVIRONMENT}/terraform.tfstate",
    )
]
LOCKS = [
    f"{FILES}/journal/{ENVIRONMENT}.json",
    f"{FILES}/leases/bakes/{ACCOUNT_ID}/{REGION}/0.json",
    f"{FILES}/terraform/{ENVIRONMENT}/terraform.tfstate.tflock",
]

AIRFLOW: dict[str, list[Request]] = {
    # A rollback points a group at another version of its launch template.
    "autoscaling:UpdateAutoScalingGroup": [
        Request("autoscaling:UpdateAutoScalingGroup", GROUP),
        *LAUNCH_FLEET,
    ],
    # An image is judged when it has its tags; one that Packer died before tagging gets them.
    "ec2:CreateTags": [
        *(
            Request("ec2:CreateTags", resource, asked({f"bakeroll:{ENVIRONMENT}": "released"}) | of(LAYER))
            for resource in (IMAGE, SNAPSHOT)
        ),
        *PACKER["ec2:CreateTags"],
    ],
    "s3:DeleteObject": each("s3:DeleteObject", *LOCKS),
    "s3:GetObject": each("s3:GetObject", *KEPT),
    "s3:PutObject": each("s3:PutObject", *KEPT),
    "sqs:DeleteMessageBatch": [Request("sqs:DeleteMessage", QUEUE)],
    "ssm:SendCommand": [
        Request("ssm:SendCommand", DOCUMENT),
        Request("ssm:SendCommand", INSTANCE, of(OURS, where="ssm:resourceTag")),
    ],
}

ANYBODY: dict[str, list[Request]] = {
    "ec2:GetConsoleOutput": [Request("ec2:GetConsoleOutput", INSTANCE, of(OURS))],
    # A missing object is told as missing only to those who may list the bucket.
    # Source: S3 API reference, HeadObject and GetObject, "Permissions"
    "s3:HeadObject": [*each("s3:GetObject", KEPT[-1]), Request("s3:ListBucket", FILES)],
    "s3:ListObjectsV2": [Request("s3:ListBucket", FILES)],
    "sts:GetCallerIdentity": [],  # Source: STS API reference: "No permissions are required"
}

RESOURCES = {
    "autoscaling": GROUP,
    "elasticloadbalancing": f"{ELB}:targetgroup/{ENVIRONMENT}/0",
    "events": RULE,
    "iam": ROLE,
    "sns": TOPIC,
    "sqs": QUEUE,
    "ssm": DOCUMENT,
}
"""The resource of an action that changes or reads one, where nothing above tells more."""

LISTING = ("Describe", "List")
LOOKS_AT_ONE = {"events", "iam", "sns", "sqs"}
"""Services whose Describe and List actions are asked for one resource."""
NAMED = {
    "sns:Publish": FAILURES,
    "elbv2:ModifyLoadBalancerAttributes": f"{ELB}:loadbalancer/app/{ENVIRONMENT}/0",
    "elbv2:DeleteLoadBalancer": f"{ELB}:loadbalancer/app/{ENVIRONMENT}/0",
    "elbv2:DeleteListener": f"{ELB}:listener/app/{ENVIRONMENT}/0/0",
    "elbv2:ModifyListener": f"{ELB}:listener/app/{ENVIRONMENT}/0/0",
    "ssm:DescribeDocument": DOCUMENT,
    "ssm:DescribeDocumentPermission": DOCUMENT,
    "ssm:GetCommandInvocation": "*",
    "ssm:ListTagsForResource": DOCUMENT,
    "iam:CreateInstanceProfile": PROFILE,
    "iam:GetInstanceProfile": PROFILE,
    "iam:DeleteInstanceProfile": PROFILE,
    "iam:RemoveRoleFromInstanceProfile": PROFILE,
}


def requests(who: str, call: str) -> list[Request]:
    """Give what AWS asks of the policies for a call.

    :param who: packer, terraform or airflow.
    :param call: ``service:Action``, with botocore's name of the service.
    """
    tools = {"packer": PACKER, "terraform": TERRAFORM, "airflow": {**PACKER, **AIRFLOW}}
    own = tools.get(who, {})
    known = own.get(call, ANYBODY.get(call))
    if known is not None:
        return known
    service, action = call.split(":")
    prefix = {"elbv2": "elasticloadbalancing", "service-quotas": "servicequotas"}.get(service, service)
    name = f"{prefix}:{action}"
    if call in NAMED:
        return [Request(name, NAMED[call])]
    if action.startswith(LISTING) and prefix not in LOOKS_AT_ONE:
        return [Request(name)]
    if prefix == "ec2":
        resource = LAUNCH_TEMPLATE if "LaunchTemplate" in action else SECURITY_GROUP
        return [Request(name, resource, of(OURS))]
    return [Request(name, RESOURCES.get(prefix, "*"))]


UNUSED = {
    "a rule, template, document or listener that changes, or a fleet that goes (allow_destroy)": [
        "autoscaling:AttachLoadBalancerTargetGroups", "autoscaling:CreateOrUpdateTags",
        "autoscaling:DeleteAutoScalingGroup", "autoscaling:DeleteLifecycleHook", "autoscaling:DeleteTags",
        "autoscaling:DetachLoadBalancerTargetGroups", "ec2:DeleteLaunchTemplate",
        "ec2:DescribeNetworkInterfaces", "ec2:RevokeSecurityGroupIngress",
        "elasticloadbalancing:DeleteListener", "elasticloadbalancing:DeleteLoadBalancer",
        "elasticloadbalancing:DeleteTargetGroup", "elasticloadbalancing:ModifyListener",
        "elasticloadbalancing:ModifyTargetGroup", "events:DeleteRule", "events:RemoveTargets",
        "iam:DeleteInstanceProfile", "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:DetachRolePolicy",
        "iam:ListInstanceProfilesForRole", "iam:RemoveRoleFromInstanceProfile", "sns:DeleteTopic",
        "sqs:DeleteQueue", "ssm:DeleteDocument", "ssm:ListTagsForResource", "ssm:UpdateDocument",
        "ssm:UpdateDocumentDefaultVersion",
    ],
    "a fleet with policies of its own (policy_arns)": ["iam:AttachRolePolicy"],
    "what a killed Packer left": [
        "ec2:DeleteSnapshot", "ec2:DeleteVolume", "ec2:DeregisterImage", "ec2:DescribeKeyPairs",
    ],
    "Packer 1.9 and later look at these as well": [
        "ec2:DescribeInstanceStatus", "ec2:DescribeInstanceTypeOfferings", "ec2:DescribeTags",
    ],
    "why an instance does not come up": ["ec2:GetConsoleOutput"],
    "a drain that failed": ["sns:Publish"],
    "a drain that takes longer than the hook waits": ["autoscaling:RecordLifecycleActionHeartbeat"],
    "drains outside deployments": ["sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"],
}  # fmt: skip
"""Why what no recorded call needed is allowed."""


def not_known(made: Recorded) -> list[str]:
    """Find calls that need an action which neither a recorded call needed nor a reason is given for.

    All others are what `test_iam.py` holds the policies to.
    """
    known = {action for actions in UNUSED.values() for action in actions}
    for who, calls in recorded().items():
        known |= {request.action for call in calls for request in requests(who, call)}
    return [
        f"{who} {call}: {request.action}"
        for who, calls in made.items()
        for call in calls
        for request in requests(who, call)
        if request.action not in known
    ]
