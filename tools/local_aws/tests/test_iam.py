"""Calls that the policies do not allow are refused, in AWS's words and with the error that the service has for it."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from functions import package
from local_aws.client import LocalAws
from pipelines import unique
from roles import EVERYTHING, policy, role

ACCOUNT, OTHER = "123456789012", "222222222222"


def session(aws: LocalAws, arn: str, **members: Any) -> dict[str, Any]:
    """Credentials of a role, assumed by the administrator of its account."""
    sts = aws.client("sts", account=arn.split(":")[4])
    answer: dict[str, Any] = sts.assume_role(RoleArn=arn, RoleSessionName="test", **members)["Credentials"]
    return answer


def anyone(aws: LocalAws, *allowed: dict[str, Any], account: str = ACCOUNT, **members: Any) -> str:
    """A role that everybody in its account may assume."""
    return role(aws, {"AWS": account}, *allowed, account=account, **members)


def refusal(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, str]:
    answer = error.value.response["Error"]
    return answer["Code"], re.sub(r"assumed-role/\S+", "assumed-role/R/test", answer["Message"])


USER = f"User: arn:aws:sts::{ACCOUNT}:assumed-role/R/test is not authorized to perform:"
NOTHING = {"Effect": "Allow", "Action": "xray:PutTraceSegments", "Resource": "*"}


@pytest.mark.parametrize(
    ("service", "call", "code", "message"),
    [
        (
            "ecs",
            lambda c: c.describe_services(cluster="c", services=["s"]),
            "AccessDeniedException",
            f"ecs:DescribeServices on resource: arn:aws:ecs:us-east-1:{ACCOUNT}:service/c/s because no identity-based policy "
            "allows the ecs:DescribeServices action",
        ),
        (
            "ecs",
            lambda c: c.list_task_definitions(),
            "AccessDeniedException",
            "ecs:ListTaskDefinitions on resource: * because no identity-based policy allows the ecs:ListTaskDefinitions action",
        ),
        (
            "dynamodb",
            lambda c: c.get_item(TableName="t", Key={"k": {"S": "v"}}),
            "AccessDeniedException",
            f"dynamodb:GetItem on resource: arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/t because no identity-based policy "
            "allows the dynamodb:GetItem action",
        ),
        (
            "s3",
            lambda c: c.get_object(Bucket="nobody-s", Key="k"),
            "AccessDenied",
            's3:GetObject on resource: "arn:aws:s3:::nobody-s/k" because no identity-based policy allows the s3:GetObject action',
        ),
        (
            "sns",
            lambda c: c.publish(TopicArn=f"arn:aws:sns:us-east-1:{ACCOUNT}:t", Message="m"),
            "AuthorizationError",
            f"SNS:Publish on resource: arn:aws:sns:us-east-1:{ACCOUNT}:t because no identity-based policy allows the "
            "SNS:Publish action",
        ),
        (
            "lambda",
            lambda c: c.invoke(FunctionName="f", Qualifier="7"),
            "AccessDeniedException",
            f"lambda:InvokeFunction on resource: arn:aws:lambda:us-east-1:{ACCOUNT}:function:f:7 because no identity-based "
            "policy allows the lambda:InvokeFunction action",
        ),
        (
            "scheduler",
            lambda c: c.get_schedule(Name="s", GroupName="g"),
            "AccessDeniedException",
            f"scheduler:GetSchedule on resource: arn:aws:scheduler:us-east-1:{ACCOUNT}:schedule/g/s because no "
            "identity-based policy allows the scheduler:GetSchedule action",
        ),
    ],
)
def test_each_service_refuses_in_its_own_way(
    aws: LocalAws, service: str, call: Callable[[Any], Any], code: str, message: str
) -> None:
    client = aws.client(service, credentials=session(aws, anyone(aws, NOTHING)))

    with pytest.raises(ClientError) as error:
        call(client)

    assert refusal(error) == (code, f"{USER} {message}")


def test_an_action_that_the_table_does_not_know_says_where_to_add_it(aws: LocalAws) -> None:
    client = aws.client("ecs", credentials=session(aws, anyone(aws)))

    with pytest.raises(
        ClientError, match=r"does not know what AWS authorises ecs:ListTaskDefinitionFamilies as.*calls\.json"
    ):
        client.list_task_definition_families()
    aws.client("ecs").list_task_definition_families()


# --- AssumeRole ---------------------------------------------------------------------------------------------


def target_role(aws: LocalAws, caller: str) -> str:
    """As ``modules/deployment_role`` makes it: for one caller of another account, with an external id."""
    condition = {"ArnLike": {"aws:PrincipalArn": [caller]}, "StringEquals": {"sts:ExternalId": "agreed"}}
    return anyone_of(aws, ACCOUNT, OTHER, {"Condition": condition})


def anyone_of(aws: LocalAws, trusted: str, account: str, trust: dict[str, Any]) -> str:
    return role(aws, {"AWS": f"arn:aws:iam::{trusted}:root"}, account=account, trust=trust)


@pytest.mark.parametrize(
    ("listed", "external_id", "allowed", "reason"),
    [
        (True, "agreed", True, ""),
        (True, "guessed", True, "because no role trust policy allows the sts:AssumeRole action"),
        (True, None, True, "because no role trust policy allows the sts:AssumeRole action"),
        (False, "agreed", True, "because no role trust policy allows the sts:AssumeRole action"),
        (True, "agreed", False, "because no identity-based policy allows the sts:AssumeRole action"),
    ],
)
def test_a_target_s_role_lets_in_its_caller_with_the_external_id(
    aws: LocalAws, listed: bool, external_id: str | None, allowed: bool, reason: str
) -> None:
    caller = anyone(aws, *((EVERYTHING,) if allowed else (NOTHING,)))
    target = target_role(aws, caller if listed else f"arn:aws:iam::{ACCOUNT}:role/somebody-else")
    sts = aws.client("sts", credentials=session(aws, caller))
    sent = {"ExternalId": external_id} if external_id else {}

    if not reason:
        keys = sts.assume_role(RoleArn=target, RoleSessionName="test", **sent)["Credentials"]
        assert aws.client("sts", credentials=keys).get_caller_identity()["Account"] == OTHER
        return
    with pytest.raises(ClientError) as error:
        sts.assume_role(RoleArn=target, RoleSessionName="test", **sent)
    code, message = refusal(error)
    assert code == "AccessDenied"
    assert message.startswith(f"{USER} sts:AssumeRole")
    assert message.endswith(reason)


def test_who_assumes_a_role_that_is_not_there_is_refused(aws: LocalAws) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        aws.client("sts").assume_role(RoleArn=f"arn:aws:iam::{OTHER}:role/none", RoleSessionName="s-1")


# --- PassRole -----------------------------------------------------------------------------------------------


def test_update_service_passes_the_roles_of_the_task_definition_it_names(aws: LocalAws) -> None:
    """Before issue 429 of e1s was found, a session policy without iam:PassRole looked complete."""
    ecs, name = aws.client("ecs"), unique("svc")
    ecs.create_cluster(clusterName=name)
    execution = f"arn:aws:iam::{ACCOUNT}:role/{name}-execution"
    family = {
        "family": name,
        "executionRoleArn": execution,
        "containerDefinitions": [{"name": "a", "image": "a:1"}],
    }
    arn = ecs.register_task_definition(**family)["taskDefinition"]["taskDefinitionArn"]
    ecs.create_service(cluster=name, serviceName=name, taskDefinition=arn, desiredCount=0)
    step = {"Effect": "Allow", "Action": ["ecs:DescribeServices", "ecs:UpdateService"], "Resource": "*"}
    passing = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*"}

    def updating(*statements: dict[str, Any], **members: Any) -> None:
        keys = session(aws, anyone(aws), Policy=policy(*statements))
        aws.client("ecs", credentials=keys).update_service(cluster=name, service=name, **members)

    with pytest.raises(ClientError) as error:
        updating(step, taskDefinition=arn)
    assert refusal(error) == (
        "AccessDeniedException",
        f"{USER} iam:PassRole on resource: {execution} because no session policy allows the iam:PassRole action",
    )
    updating(step, desiredCount=0)  # names no task definition, so passes nothing
    updating(step, passing, taskDefinition=arn)
    to_others = {**passing, "Condition": {"StringEquals": {"iam:PassedToService": "events.amazonaws.com"}}}
    with pytest.raises(ClientError, match="iam:PassRole"):
        updating(step, to_others, taskDefinition=arn)


def test_a_boundary_limits_what_a_role_may(aws: LocalAws) -> None:
    boundary = aws.client("iam").create_policy(
        PolicyName=unique("b"), PolicyDocument=policy({**EVERYTHING, "Action": "s3:*"})
    )["Policy"]["Arn"]
    client = aws.client("ecs", credentials=session(aws, anyone(aws, PermissionsBoundary=boundary)))

    with pytest.raises(
        ClientError, match="because no permissions boundary allows the ecs:ListTaskDefinitions action"
    ):
        client.list_task_definitions()


# --- resources ----------------------------------------------------------------------------------------------


def test_a_bucket_s_own_policy_may_refuse_the_administrator(aws: LocalAws) -> None:
    s3, bucket = aws.client("s3"), unique("bucket")
    s3.create_bucket(Bucket=bucket)
    tls = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}/*"}
    plain_http = {"Bool": {"aws:SecureTransport": "false"}}
    s3.put_bucket_policy(Bucket=bucket, Policy=policy({**tls, "Condition": plain_http}))
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(tls))

    with pytest.raises(ClientError, match="with an explicit deny in a resource-based policy"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"")


def test_who_may_not_list_a_bucket_is_not_told_what_is_missing(aws: LocalAws) -> None:
    bucket = unique("bucket")
    aws.client("s3").create_bucket(Bucket=bucket)
    reading = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    listing = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}

    def get(*allowed: dict[str, Any]) -> str:
        client = aws.client("s3", credentials=session(aws, anyone(aws, *allowed)))
        with pytest.raises(ClientError) as error:
            client.get_object(Bucket=bucket, Key="none")
        return str(error.value.response["Error"]["Code"])

    assert get(reading) == "AccessDenied"
    assert get(reading, listing) == "NoSuchKey"


def key_of(aws: LocalAws, *statements: dict[str, Any]) -> str:
    account = {**EVERYTHING, "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
    return str(aws.client("kms").create_key(Policy=policy(account, *statements))["KeyMetadata"]["Arn"])


def test_publishing_to_an_encrypted_topic_takes_its_key(aws: LocalAws) -> None:
    key = key_of(aws)
    topic = aws.client("sns").create_topic(Name=unique("t"), Attributes={"KmsMasterKeyId": key})["TopicArn"]
    publishing = {"Effect": "Allow", "Action": "sns:Publish", "Resource": "*"}
    through_sns = {"StringEquals": {"kms:ViaService": "sns.us-east-1.amazonaws.com"}}
    using = {"Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": key}

    def publish(*allowed: dict[str, Any]) -> None:
        client = aws.client("sns", credentials=session(aws, anyone(aws, *allowed)))
        client.publish(TopicArn=topic, Message="m")

    with pytest.raises(ClientError) as error:
        publish(publishing)
    assert refusal(error) == (
        "KMSAccessDenied",
        f"{USER} kms:GenerateDataKey on resource: {key} because no identity-based policy allows the kms:GenerateDataKey action",
    )
    publish(publishing, {**using, "Condition": through_sns})
    elsewhere = {"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}}
    with pytest.raises(ClientError, match="kms:GenerateDataKey"):
        publish(publishing, {**using, "Condition": elsewhere})


def rule_to(aws: LocalAws, target: str, **members: Any) -> tuple[str, str]:
    """A rule on events of a source of its own: the rule's ARN and the source."""
    events, name = aws.client("events"), unique("rule")
    arn = events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))["RuleArn"]
    events.put_targets(Rule=name, Targets=[{"Id": "t", "Arn": target, **members}])
    return str(arn), name


def put(aws: LocalAws, source: str, text: str = "{}") -> None:
    aws.client("events").put_events(Entries=[{"Source": source, "DetailType": "d", "Detail": text}])


@pytest.mark.parametrize("with_permission", [True, False])
def test_a_rule_publishes_to_an_encrypted_topic_where_topic_and_key_let_it(
    aws: LocalAws, eventually: Callable[..., Any], with_permission: bool
) -> None:
    events = {"Service": "events.amazonaws.com"}
    using = {
        "Effect": "Allow",
        "Principal": events,
        "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
        "Resource": "*",
    }
    sns = aws.client("sns")
    topics = {}
    for kind, statements in (("let in", [using]), ("asked", [using] if with_permission else [])):
        attributes = {"KmsMasterKeyId": key_of(aws, *statements)}
        topics[kind] = arn = sns.create_topic(Name=unique("t"), Attributes=attributes)["TopicArn"]
        publishing = {"Effect": "Allow", "Principal": events, "Action": "sns:Publish", "Resource": arn}
        sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy(publishing))
    queue = aws.client("sqs").create_queue(QueueName=unique("dead"))["QueueUrl"]
    dead = aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    letting_in = {"Effect": "Allow", "Principal": events, "Action": "sqs:SendMessage", "Resource": dead}
    aws.client("sqs").set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy(letting_in)})
    _, source = rule_to(aws, topics["asked"], DeadLetterConfig={"Arn": dead})

    put(aws, source)

    if with_permission:
        eventually(lambda: [n for n in aws.notifications() if n["topicArn"] == topics["asked"]])
        return
    (message,) = eventually(
        lambda: (
            aws.client("sqs").receive_message(QueueUrl=queue, MessageAttributeNames=["All"]).get("Messages")
        )
    )
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes["ERROR_CODE"] == "NO_PERMISSIONS"
    assert (
        "events.amazonaws.com is not authorized to perform: kms:GenerateDataKey"
        in attributes["ERROR_MESSAGE"]
    )
    assert not [n for n in aws.notifications() if n["topicArn"] == topics["asked"]]


def test_a_package_is_read_with_the_permissions_of_the_caller(aws: LocalAws) -> None:
    name, bucket = unique("f"), unique("bucket")
    runs = role(aws, "lambda.amazonaws.com")
    code = {"ZipFile": package("def handler(event, context): pass")}
    aws.client("lambda").create_function(
        FunctionName=name, Runtime="python3.13", Role=runs, Handler="app.handler", Code=code
    )
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket, Key="k.zip", Body=code["ZipFile"])["VersionId"]

    def update(*actions: str, **members: str) -> Any:
        allowed = {"Effect": "Allow", "Action": ["lambda:*", *actions], "Resource": "*"}
        client = aws.client("lambda", credentials=session(aws, anyone(aws, allowed)))
        return client.update_function_code(FunctionName=name, S3Bucket=bucket, S3Key="k.zip", **members)

    for action, members in (
        ("s3:GetObject", {}),
        ("s3:GetObjectVersion", {"S3ObjectVersion": version}),
    ):
        other = {"s3:GetObject", "s3:GetObjectVersion"} - {action}
        with pytest.raises(ClientError) as refused:
            update(*other, **members)
        assert f"{action} on resource" in refusal(refused)[1]
        update(action, **members)


def test_a_function_runs_for_the_rule_that_its_permission_names_and_for_no_other(
    aws: LocalAws, eventually: Callable[..., Any]
) -> None:
    function, name = aws.client("lambda"), unique("f")
    made = function.create_function(
        FunctionName=name,
        Role=role(aws, "lambda.amazonaws.com"),
        Runtime="python3.13",
        Handler="app.handler",
        Code={"ZipFile": package("def handler(event, _):\n    print('ran for ' + event['detail']['who'])\n")},
        Publish=True,
    )
    arn = f"{made['FunctionArn'].removesuffix(':' + made['Version'])}:{made['Version']}"
    named, source = rule_to(aws, arn)
    _, other = rule_to(aws, arn)
    function.add_permission(
        FunctionName=name,
        Qualifier=made["Version"],
        StatementId=uuid.uuid4().hex,
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=named,
    )

    put(aws, other, json.dumps({"who": "another rule"}))
    put(aws, source, json.dumps({"who": "its rule"}))

    def lines() -> list[str]:
        logs = aws.client("logs")
        try:
            found = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [event["message"] for event in found if "ran for" in event["message"]]

    assert eventually(lines) == ["ran for its rule"]
    asked = [
        r
        for r in aws.permissions()["requests"]
        if r["resource"] == arn and r["caller"]["arn"].startswith("events")
    ]
    assert sorted(entry["allowed"] for entry in asked) == [False, True]


def test_a_machine_s_executions_act_as_its_role(aws: LocalAws, eventually: Callable[..., Any]) -> None:
    states = aws.client("stepfunctions")
    task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True}
    definition = {
        "StartAt": "T",
        "States": {"T": {**task, "Parameters": {"FunctionName": "f", "Payload": {}}}},
    }
    machine = states.create_state_machine(
        name=unique("m"),
        definition=json.dumps(definition),
        roleArn=role(aws, "states.amazonaws.com", NOTHING),
    )["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=machine, name="e")["executionArn"]

    def ended() -> dict[str, Any] | None:
        answer: dict[str, Any] = states.describe_execution(executionArn=execution)
        return None if answer["status"] == "RUNNING" else answer

    assert "is not authorized to perform: lambda:InvokeFunction" in eventually(ended)["cause"]
    untrusting = states.create_state_machine(
        name=unique("m"), definition=json.dumps(definition), roleArn=role(aws, "lambda.amazonaws.com")
    )["stateMachineArn"]
    with pytest.raises(ClientError, match=r"Neither the global service principal states\.amazonaws\.com"):
        states.start_execution(stateMachineArn=untrusting, name="f")
