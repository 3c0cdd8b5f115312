"""An estate to release to, made through the AWS API: clusters, services, rules, schedules, repositories.

:class:`Estate` builds anything; :func:`make_shop` builds the one of ``examples/local/deployment.yaml``: two clusters,
twelve services and three scheduled tasks with what estates in use have - two architectures, sidecars, secrets,
volumes, tags, families without a task role, services with and without the circuit breaker. Nothing here is special
to the embedded AWS but the ARNs of roles, subnets and secrets, which are only names there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from botocore.exceptions import ClientError

ACCOUNT = "123456789012"
REGION = "us-east-1"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"

TEST_CLUSTER = "test-Cluster-0IEYQ2GqGmL7"
BACK_OFFICE = "test-back-office"

CIRCUIT_BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
CIRCUIT_BREAKER_ALONE = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
NETWORK = {
    "awsvpcConfiguration": {
        "subnets": ["subnet-0a1b2c3d4e5f60001", "subnet-0a1b2c3d4e5f60002"],
        "securityGroups": ["sg-0a1b2c3d4e5f60003"],
        "assignPublicIp": "DISABLED",
    }
}
# EventBridge and its Scheduler write the same members with capitals.
EVENT_NETWORK = {
    "awsvpcConfiguration": {
        "Subnets": NETWORK["awsvpcConfiguration"]["subnets"],
        "SecurityGroups": NETWORK["awsvpcConfiguration"]["securityGroups"],
        "AssignPublicIp": "DISABLED",
    }
}
_SECOND_TARGETS = ("audit-queue", "metrics-queue", "search-queue", "archive-queue")


class Clients(Protocol):
    """What makes boto3 clients; :class:`local_aws.client.LocalAws` does."""

    def client(self, service: str) -> Any: ...


def role(name: str, account: str = ACCOUNT) -> str:
    """ARN of a role."""
    return f"arn:aws:iam::{account}:role/{name}"


def container(name: str, image: str, **members: Any) -> dict[str, Any]:
    """A container definition."""
    return {"name": name, "image": image, "essential": True, **members}


def starter_role(iam: Any, name: str, service: str) -> None:
    """Make a role with which rules or schedules start tasks, once an account.

    It may run every task definition, pass every role on to tasks and tag what it starts
    (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/CWE_IAM_role.html).

    Parameters
    ----------
    service
        Who assumes it, such as ``events.amazonaws.com``.
    """
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    passed = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    may: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": ["ecs:RunTask", "ecs:TagResource"], "Resource": "*"},
        {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*", "Condition": passed},
    ]
    try:
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityAlreadyExists":
            raise
    iam.put_role_policy(RoleName=name, PolicyName="start", PolicyDocument=policy(*may))


def policy(*statements: Mapping[str, Any]) -> str:
    """A policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


class Estate:
    """Builds clusters, families, services, rules and schedules.

    Parameters
    ----------
    aws
        Makes boto3 clients of one account and Region.
    account
        The account those clients reach.
    """

    def __init__(self, aws: Clients, account: str = ACCOUNT) -> None:
        self._aws = aws
        self._account = account
        self.ecs = aws.client("ecs")
        self.events = aws.client("events")
        self.scheduler = aws.client("scheduler")

    def cluster(self, name: str) -> str:
        """Make a cluster; its ARN."""
        answer = self.ecs.create_cluster(
            clusterName=name, settings=[{"name": "containerInsights", "value": "enabled"}]
        )
        return str(answer["cluster"]["clusterArn"])

    def family(
        self, family: str, containers: Sequence[Mapping[str, Any]], *, task_role: bool = True, **members: Any
    ) -> str:
        """Register a revision; its ARN. Members not given are those of a small Fargate task."""
        request: dict[str, Any] = {
            "family": family,
            "containerDefinitions": list(containers),
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "cpu": "256",
            "memory": "512",
            "executionRoleArn": role("ecs-execution", self._account),
            **({"taskRoleArn": role(f"{family}-task", self._account)} if task_role else {}),
            **members,
        }
        return str(self.ecs.register_task_definition(**request)["taskDefinition"]["taskDefinitionArn"])

    def service(self, cluster: str, name: str, task_definition: str, **members: Any) -> str:
        """Make a service of two tasks; its ARN."""
        request: dict[str, Any] = {
            "cluster": cluster,
            "serviceName": name,
            "taskDefinition": task_definition,
            "desiredCount": 2,
            "launchType": "FARGATE",
            "networkConfiguration": NETWORK,
            "propagateTags": "SERVICE",
            "enableECSManagedTags": True,
            "deploymentConfiguration": {
                "maximumPercent": 200,
                "minimumHealthyPercent": 100,
                **members.pop("deploymentConfiguration", CIRCUIT_BREAKER),
            },
            **members,
        }
        return str(self.ecs.create_service(**request)["service"]["serviceArn"])

    def rule(
        self,
        name: str,
        cluster_arn: str,
        task_definition: str,
        *,
        bus: str = "default",
        other_targets: Sequence[Mapping[str, Any]] = (),
        target_id: str = "task",
        **members: Any,
    ) -> None:
        """Make an EventBridge rule with a target that runs a task, among others."""
        starter_role(self._aws.client("iam"), "events-run-task", "events.amazonaws.com")
        if bus != "default" and bus not in {b["Name"] for b in self.events.list_event_buses()["EventBuses"]}:
            self.events.create_event_bus(Name=bus)
        trigger = {} if "EventPattern" in members else {"ScheduleExpression": "cron(0 3 * * ? *)"}
        self.events.put_rule(Name=name, EventBusName=bus, State="ENABLED", **{**trigger, **members})
        ours = {
            "Id": target_id,
            "Arn": cluster_arn,
            "RoleArn": role("events-run-task", self._account),
            "EcsParameters": {
                "TaskDefinitionArn": task_definition,
                "TaskCount": 1,
                "LaunchType": "FARGATE",
                "PlatformVersion": "1.4.0",
                "NetworkConfiguration": EVENT_NETWORK,
                "EnableECSManagedTags": True,
                "PropagateTags": "TASK_DEFINITION",
            },
        }
        self.events.put_targets(Rule=name, EventBusName=bus, Targets=[*other_targets, ours])

    def schedule(
        self, name: str, cluster_arn: str, task_definition: str, *, group: str = "default", **members: Any
    ) -> None:
        """Make an EventBridge Scheduler schedule that runs a task, with everything a schedule can have."""
        starter_role(self._aws.client("iam"), "scheduler-run-task", "scheduler.amazonaws.com")
        if group != "default":
            self.scheduler.create_schedule_group(Name=group)
        queue = f"arn:aws:sqs:{REGION}:{self._account}:{name}-dead-letters"
        request: dict[str, Any] = {
            "Name": name,
            "GroupName": group,
            "Description": f"Runs {name}.",
            "ScheduleExpression": "cron(30 2 * * ? *)",
            "ScheduleExpressionTimezone": "Europe/Berlin",
            "State": "ENABLED",
            "EndDate": datetime.now(UTC).replace(microsecond=0) + timedelta(days=365),
            "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15},
            "Target": {
                "Arn": cluster_arn,
                "RoleArn": role("scheduler-run-task", self._account),
                "DeadLetterConfig": {"Arn": queue},
                "RetryPolicy": {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 5},
                "Input": json.dumps({"containerOverrides": [{"name": name, "command": ["run", "--all"]}]}),
                "EcsParameters": {
                    "TaskDefinitionArn": task_definition,
                    "TaskCount": 1,
                    "LaunchType": "FARGATE",
                    "NetworkConfiguration": EVENT_NETWORK,
                    "EnableECSManagedTags": True,
                    "PropagateTags": "TASK_DEFINITION",
                    "Tags": [{"key": "team", "value": "back-office"}],
                },
            },
            **members,
        }
        self.scheduler.create_schedule(**request)

    def image(self, repository: str, *tags: str) -> None:
        """Put images into an ECR repository, made when there is none."""
        ecr = self._aws.client("ecr")
        if repository not in {r["repositoryName"] for r in ecr.describe_repositories()["repositories"]}:
            ecr.create_repository(repositoryName=repository, imageTagMutability="IMMUTABLE")
        for tag in tags:
            digest = hashlib.sha256(f"{repository}:{tag}".encode()).hexdigest()
            manifest = {
                "schemaVersion": 2,
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "config": {
                    "mediaType": "application/vnd.docker.container.image.v1+json",
                    "size": 7023,
                    "digest": f"sha256:{digest}",
                },
                "layers": [],
            }
            ecr.put_image(repositoryName=repository, imageTag=tag, imageManifest=json.dumps(manifest))


def make_shop(aws: Clients, progress: Callable[[str], None] = lambda _: None) -> None:
    """Make the estate that ``examples/local/deployment.yaml`` releases to, one version behind it."""
    estate = Estate(aws)
    clusters = {name: estate.cluster(name) for name in (TEST_CLUSTER, BACK_OFFICE)}
    for number, (cluster, service, family, members, settings) in enumerate(_services(), start=1):
        revision = estate.family(family, **members)
        estate.service(cluster, service, revision, tags=_tags(family), **settings)
        progress(f"{number} services")
    _make_tasks(estate, clusters)
    progress("3 scheduled tasks")
    for repository, tags in IMAGES.items():
        estate.image(repository, *tags)
    progress(f"{len(IMAGES)} image repositories")


# What the registry of the account has: what runs, what the manifest releases, and what the demo pushes after it.
IMAGES: dict[str, tuple[str, ...]] = {
    "api": ("1.1", "1.10", "1.11"),
    "api-proxy": ("1.1",),
    "ratings": ("2.3.0", "2.4.0"),
    "search": ("5.0.1", "5.1.0"),
    "recommendations": ("0.9.0", "1.0.0"),
    "catalog": ("7.2", "7.3"),
    "catalog-worker": ("7.2", "7.3"),
    "web": ("2024-05-01", "2024-06-01", "2024-07-01"),
    "sessions": ("3.0.0", "3.0.1"),
    "billing": ("11.4.0", "11.5.0", "11.6.0-crash", "11.6.1"),
    "invoices": ("4.4.1", "4.5.0"),
    "mailer": ("1.0.0", "1.1.0"),
    "reports": ("6.0.0", "6.1.0"),
    "invoice-archiver": ("1.2.0", "1.3.0"),
    "nightly-report": ("2.9.0", "3.0.0", "3.1.0"),
}


def _image(repository: str) -> str:
    return f"{REGISTRY}/{repository}:{IMAGES[repository][0]}"


def _tags(family: str) -> list[dict[str, str]]:
    return [{"key": "team", "value": "shop"}, {"key": "application", "value": family}]


def _logs(family: str, prefix: str = "ecs") -> dict[str, Any]:
    options = {"awslogs-group": f"/ecs/{family}", "awslogs-region": REGION, "awslogs-stream-prefix": prefix}
    return {"logDriver": "awslogs", "options": options}


def _services() -> list[tuple[str, str, str, dict[str, Any], dict[str, Any]]]:
    """Cluster, service, family, members of the family, members of the service."""
    arm = {"runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"}}
    secret = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:api/database-Ab3dEf"
    parameter = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/billing/key"
    health = {
        "command": ["CMD-SHELL", "curl -f http://localhost:8080/health || exit 1"],
        "interval": 30,
        "timeout": 5,
        "retries": 3,
        "startPeriod": 10,
    }

    def one(name: str, **members: Any) -> list[dict[str, Any]]:
        return [container(name, _image(name), logConfiguration=_logs(name), **members)]

    return [
        (
            TEST_CLUSTER,
            "test-movie-info-service-Service-TALkUbJVrBgS",
            "movie-info-service",
            {
                "containers": [
                    container(
                        "service-a",
                        "11111111111.dkr.ecr.us-east-1.amazonaws.com/movie-info-service:3.9.0",
                        portMappings=[{"containerPort": 8080, "name": "http", "appProtocol": "http"}],
                        environment=[{"name": "STAGE", "value": "test"}],
                        healthCheck=health,
                        logConfiguration=_logs("movie-info-service"),
                    )
                ],
                "tags": _tags("movie-info-service"),
            },
            {},
        ),
        (
            TEST_CLUSTER,
            "api",
            "api",
            {
                # "api" and "api-proxy", 1.1 and 1.10: names and tags that a careless replacement mixes up
                "containers": [
                    container(
                        "api-proxy",
                        _image("api-proxy"),
                        portMappings=[{"containerPort": 443}],
                        dependsOn=[{"containerName": "api", "condition": "HEALTHY"}],
                        logConfiguration=_logs("api", "proxy"),
                    ),
                    container(
                        "api",
                        _image("api"),
                        portMappings=[{"containerPort": 8080}],
                        secrets=[{"name": "DATABASE_URL", "valueFrom": secret}],
                        healthCheck=health,
                        ulimits=[{"name": "nofile", "softLimit": 65536, "hardLimit": 65536}],
                        logConfiguration=_logs("api"),
                    ),
                ],
                "cpu": "1024",
                "memory": "2048",
                "tags": _tags("api"),
                **arm,
            },
            {"desiredCount": 4},
        ),
        (TEST_CLUSTER, "ratings", "ratings", {"containers": one("ratings"), "tags": _tags("ratings")}, {}),
        (
            TEST_CLUSTER,
            "search",
            "search",
            {
                "containers": one(
                    "search",
                    mountPoints=[{"sourceVolume": "index", "containerPath": "/index", "readOnly": False}],
                    linuxParameters={"initProcessEnabled": True},
                ),
                "volumes": [
                    {
                        "name": "index",
                        "efsVolumeConfiguration": {
                            "fileSystemId": "fs-0a1b2c3d4e5f60004",
                            "transitEncryption": "ENABLED",
                            "authorizationConfig": {
                                "accessPointId": "fsap-0a1b2c3d4e5f60005",
                                "iam": "ENABLED",
                            },
                        },
                    }
                ],
                "memory": "1024",
                **arm,
            },
            {},
        ),
        (
            TEST_CLUSTER,
            "recommendations",
            "recommendations",
            {"containers": one("recommendations"), "task_role": False},
            {},
        ),
        (
            TEST_CLUSTER,
            "catalog",
            "catalog",
            {
                "containers": [
                    container("catalog", _image("catalog"), portMappings=[{"containerPort": 8080}]),
                    container(
                        "catalog-worker", _image("catalog-worker"), command=["worker", "--queue=catalog"]
                    ),
                    container(
                        "log-router",
                        "public.ecr.aws/aws-observability/aws-for-fluent-bit:stable",
                        essential=False,
                        firelensConfiguration={
                            "type": "fluentbit",
                            "options": {"enable-ecs-log-metadata": "true"},
                        },
                    ),
                ],
                "cpu": "512",
                "memory": "1024",
                "tags": _tags("catalog"),
            },
            {"deploymentConfiguration": CIRCUIT_BREAKER_ALONE},
        ),
        (
            TEST_CLUSTER,
            "web",
            "web",
            {"containers": one("web", portMappings=[{"containerPort": 8080}]), **arm},
            {},
        ),
        (
            TEST_CLUSTER,
            "sessions",
            "sessions",
            {
                "containers": one("sessions", readonlyRootFilesystem=True, stopTimeout=60, user="1000:1000"),
                "pidMode": "task",
            },
            {},
        ),
        (
            BACK_OFFICE,
            "billing",
            "billing",
            {
                "containers": one(
                    "billing",
                    secrets=[{"name": "BILLING_KEY", "valueFrom": parameter}],
                    environment=[{"name": "CURRENCY", "value": "EUR"}, {"name": "LOCALE", "value": "de-DE"}],
                ),
                "tags": _tags("billing"),
            },
            {},
        ),
        # no circuit breaker: a rollout that fails never ends by itself
        (
            BACK_OFFICE,
            "invoices",
            "invoices",
            {"containers": one("invoices")},
            {"deploymentConfiguration": {}},
        ),
        (BACK_OFFICE, "mailer", "mailer", {"containers": one("mailer"), **arm}, {"desiredCount": 1}),
        (
            BACK_OFFICE,
            "reports",
            "reports",
            {
                "containers": one(
                    "reports", mountPoints=[{"sourceVolume": "scratch", "containerPath": "/scratch"}]
                ),
                "volumes": [{"name": "scratch", "host": {}}],
                "ephemeralStorage": {"sizeInGiB": 100},
                "cpu": "2048",
                "memory": "8192",
            },
            {},
        ),
    ]


def _make_tasks(estate: Estate, clusters: Mapping[str, str]) -> None:
    cleanup = estate.family(
        "rating-cleanup",
        [
            container(
                "rating-cleanup",
                "11111111111.dkr.ecr.us-west-2.amazonaws.com/rating-cleanup:1.9.0",
                command=["cleanup", "--older-than=90d"],
                logConfiguration=_logs("rating-cleanup"),
            )
        ],
        tags=_tags("rating-cleanup"),
    )
    others = [
        {
            "Id": queue,
            "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}",
            "Input": json.dumps({"queue": queue}),
            "RetryPolicy": {"MaximumEventAgeInSeconds": 600, "MaximumRetryAttempts": 3},
        }
        for queue in _SECOND_TARGETS
    ]
    estate.rule("test-rating-cleanup", clusters[TEST_CLUSTER], cleanup, other_targets=others)

    archiver = estate.family(
        "invoice-archiver",
        [
            container(
                "invoice-archiver", _image("invoice-archiver"), logConfiguration=_logs("invoice-archiver")
            )
        ],
        runtimePlatform={"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
    )
    pattern = {"source": ["shop.billing"], "detail-type": ["Invoice Paid"]}
    estate.rule(
        "archive-invoices",
        clusters[BACK_OFFICE],
        archiver,
        bus="back-office",
        EventPattern=json.dumps(pattern),
        Description="Archives an invoice that was paid.",
    )

    nightly = estate.family(
        "nightly-report",
        [container("nightly-report", _image("nightly-report"), logConfiguration=_logs("nightly-report"))],
        ephemeralStorage={"sizeInGiB": 40},
    )
    estate.schedule("nightly-report", clusters[BACK_OFFICE], nightly, group="reports")
