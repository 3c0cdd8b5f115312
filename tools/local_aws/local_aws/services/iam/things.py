"""What a call is about: the resources that its row in ``calls.json`` names, and the values of its condition keys.

The forms of ARNs are those of the Service Authorization Reference; tests/test_iam_table.py compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from local_aws.kernel.calls import Call
from local_aws.kernel.server import MOTO_LOCK
from local_aws.services.ecs.state import Estate, TaskDefinition
from local_aws.services.iam import policies_in_force

Keys = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Thing:
    """A resource of a call.

    Attributes
    ----------
    owner : its account; "" where it has none.
    keys : condition keys that this resource brings.
    """

    arn: str
    owner: str
    keys: Keys = field(default_factory=dict)


Finder = Callable[[Call], Iterable[Thing]]
FINDERS: dict[str, Finder] = {}
"""By the names that rows use as ``on``."""


def _finder(name: str) -> Callable[[Finder], Finder]:
    def register(function: Finder) -> Finder:
        FINDERS[name] = function
        return function

    return register


def _one(arn: str, account: str | None = None) -> list[Thing]:
    return [Thing(arn, policies_in_force.account_of(arn) if account is None else account)]


def _arn(call: Call, service: str, resource: str) -> str:
    return f"arn:aws:{service}:{call.region}:{call.account}:{resource}"


def _full(call: Call, service: str, prefix: str, name: str) -> str:
    """An ARN as it was given, or made from a name."""
    return name if name.startswith("arn:") else _arn(call, service, prefix + name)


@_finder("*")
def _anything(_: Call) -> list[Thing]:
    return [Thing("*", "")]


# --- Amazon ECS ---------------------------------------------------------------------------------------------


def cluster_arn(call: Call) -> str:
    return _full(call, "ecs", "cluster/", str(call.input.get("cluster") or "default"))


def _service_arn(call: Call, name: str) -> str:
    if name.startswith("arn:"):
        return name
    return _arn(call, "ecs", f"service/{cluster_arn(call).rpartition('/')[2]}/{name}")


@_finder("ecs cluster")
def _cluster(call: Call) -> list[Thing]:
    return _one(cluster_arn(call))


@_finder("ecs clusters")
def _clusters(call: Call) -> list[Thing]:
    names = call.input.get("clusters") or ["default"]
    return [thing for name in names for thing in _one(_full(call, "ecs", "cluster/", name))]


@_finder("ecs service")
def _service(call: Call) -> list[Thing]:
    return _one(_service_arn(call, str(call.input["service"])))


@_finder("ecs services")
def _services(call: Call) -> list[Thing]:
    return [thing for name in call.input.get("services") or () for thing in _one(_service_arn(call, name))]


@_finder("ecs tasks")
def _tasks(call: Call) -> list[Thing]:
    where = f"task/{cluster_arn(call).rpartition('/')[2]}/"
    return [t for name in call.input.get("tasks") or () for t in _one(_full(call, "ecs", where, name))]


@_finder("ecs tasks to be started")
def _new_tasks(call: Call) -> list[Thing]:
    return _one(_arn(call, "ecs", f"task/{cluster_arn(call).rpartition('/')[2]}/*"))


@_finder("ecs resource")
def _tagged(call: Call) -> list[Thing]:
    return _one(str(call.input["resourceArn"]))


@_finder("ecs service deployments")
def _service_deployments(call: Call) -> list[Thing]:
    given = call.input.get("serviceDeploymentArns") or [call.input.get("serviceDeploymentArn")]
    return [thing for arn in given if arn for thing in _one(str(arn))]


@_finder("ecs service revisions")
def _service_revisions(call: Call) -> list[Thing]:
    return [thing for arn in call.input.get("serviceRevisionArns") or () for thing in _one(str(arn))]


def task_definition(call: Call) -> TaskDefinition | None:
    """The task definition that a call names, as it is registered."""
    reference = str(call.input.get("taskDefinition") or "")
    estate = call.server.part(Estate)
    with estate.lock:
        return estate.store(call).task_definition(reference) if reference else None


@_finder("ecs task definition")
def _definition(call: Call) -> list[Thing]:
    found = task_definition(call)
    return (
        _one(found.arn)
        if found
        else _one(_full(call, "ecs", "task-definition/", str(call.input["taskDefinition"])))
    )


@_finder("ecs task definition to be registered")
def _new_definition(call: Call) -> list[Thing]:
    # its number is not known before it is registered
    return _one(_arn(call, "ecs", f"task-definition/{call.input.get('family')}:*"))


def _roles(call: Call, names: Iterable[Any]) -> list[Thing]:
    arns = {
        name if str(name).startswith("arn:") else f"arn:aws:iam::{call.account}:role/{name}"
        for name in names
        if name
    }
    return [thing for arn in sorted(map(str, arns)) for thing in _one(arn)]


@_finder("roles in the request")
def _roles_given(call: Call) -> list[Thing]:
    return _roles(call, (call.input.get("taskRoleArn"), call.input.get("executionRoleArn")))


@_finder("roles of the task definition")
def _roles_of_definition(call: Call) -> list[Thing]:
    found = task_definition(call)
    members = found.members if found else {}
    overrides = call.input.get("overrides") or {}
    given = [overrides.get(name) or members.get(name) for name in ("taskRoleArn", "executionRoleArn")]
    return _roles(call, given)


# --- EventBridge, Scheduler ---------------------------------------------------------------------------------


@_finder("events rule")
def _rule(call: Call) -> list[Thing]:
    bus = str(call.input.get("EventBusName") or "default").rpartition("/")[2]
    name = str(call.input.get("Rule") or call.input.get("Name"))
    return _one(_arn(call, "events", f"rule/{name}" if bus == "default" else f"rule/{bus}/{name}"))


@_finder("roles of the targets")
def _roles_of_targets(call: Call) -> list[Thing]:
    return _roles(call, [target.get("RoleArn") for target in call.input.get("Targets") or ()])


@_finder("schedule")
def _schedule(call: Call) -> list[Thing]:
    group = call.params.get("groupName") or (call.input.get("GroupName") if call.body else None) or "default"
    return _one(_arn(call, "scheduler", f"schedule/{group}/{call.params['Name']}"))


@_finder("role of the schedule's target")
def _role_of_schedule(call: Call) -> list[Thing]:
    return _roles(call, [(call.input.get("Target") or {}).get("RoleArn")])


def _key(call: Call, name: Any, **context: str) -> list[Thing]:
    """A customer managed key; nothing for AWS's own, which a service uses for whoever may use the service."""
    with MOTO_LOCK:
        found = policies_in_force.key(str(name), call.account, call.region) if name else None
    if found is None:
        return []
    keys: Keys = {f"kms:encryptioncontext:{k}": (v,) for k, v in context.items()}
    keys["kms:encryptioncontextkeys"] = tuple(context)
    return [Thing(str(found.arn), str(found.account_id), keys)]


@_finder("key of the schedule")
def _key_of_schedule(call: Call) -> list[Thing]:
    """Of the one there is, and of the one that is written."""
    from moto.scheduler.models import scheduler_backends  # noqa: PLC0415 (moto's backends load on demand)

    (arn,) = (thing.arn for thing in _schedule(call))
    _, _, group, name = arn.replace(":schedule/", "/schedule/").rsplit("/", 3)
    with MOTO_LOCK:
        there = scheduler_backends[call.account][call.region].schedule_groups.get(group)
        schedule = there.schedules.get(name) if there else None
    names = {(getattr(schedule, "local_members", None) or {}).get("KmsKeyArn")}
    if call.body:
        names.add(call.input.get("KmsKeyArn"))
    return [
        t
        for one in sorted(filter(None, names))
        for t in _key(call, one, **{"aws:scheduler:schedule:arn": arn})
    ]


# --- Amazon DynamoDB ----------------------------------------------------------------------------------------


def _table_arn(call: Call, name: str) -> str:
    return _full(call, "dynamodb", "table/", name)


@_finder("table")
def _table(call: Call) -> list[Thing]:
    arn = _table_arn(call, str(call.input["TableName"]))
    index = call.input.get("IndexName")
    return _one(f"{arn}/index/{index}" if index else arn)


def _tables(call: Call) -> Iterator[str]:
    if "TableName" in call.input:
        yield call.input["TableName"]
    yield from call.input.get("RequestItems") or ()
    for entry in call.input.get("TransactItems") or ():
        for part in entry.values():
            yield part["TableName"]


@_finder("tables")
def _all_tables(call: Call) -> list[Thing]:
    return [thing for name in sorted(set(_tables(call))) for thing in _one(_table_arn(call, name))]


def _transacted(kind: str) -> Finder:
    def find(call: Call) -> list[Thing]:
        names = {e[kind]["TableName"] for e in call.input.get("TransactItems") or () if kind in e}
        return [thing for name in sorted(names) for thing in _one(_table_arn(call, name))]

    return find


for _kind in ("Put", "Update", "Delete", "ConditionCheck", "Get"):
    FINDERS[f"tables of {_kind}"] = _transacted(_kind)


def _written(kind: str) -> Finder:
    def find(call: Call) -> list[Thing]:
        given = call.input.get("RequestItems") or {}
        names = {name for name, entries in given.items() if any(kind in entry for entry in entries)}
        return [thing for name in sorted(names) for thing in _one(_table_arn(call, name))]

    return find


for _kind in ("PutRequest", "DeleteRequest"):
    FINDERS[f"tables of {_kind}"] = _written(_kind)


@_finder("keys of the tables")
def _keys_of_tables(call: Call) -> list[Thing]:
    from moto.dynamodb.models import dynamodb_backends  # noqa: PLC0415

    found = []
    for given in sorted(set(_tables(call))):
        name = given.rpartition("/")[2]
        with MOTO_LOCK:
            table = dynamodb_backends[call.account][call.region].tables.get(name)
            sse = (table.sse_specification or {}) if table is not None else {}
        if sse.get("Enabled"):
            context = {"aws:dynamodb:tableName": name, "aws:dynamodb:subscriberId": call.account}
            found += _key(call, sse.get("KMSMasterKeyId"), **context)
    return found


# --- Amazon S3 ----------------------------------------------------------------------------------------------


@_finder("object")
def _object(call: Call) -> list[Thing]:
    name = call.params["Bucket"]
    return _one(f"arn:aws:s3:::{name}/{call.params['Key']}", _owner(name))


@_finder("bucket")
def _bucket(call: Call) -> list[Thing]:
    name = call.params["Bucket"]
    return _one(f"arn:aws:s3:::{name}", _owner(name))


def _owner(bucket: str) -> str:
    with MOTO_LOCK:
        return policies_in_force.owner_of_bucket(bucket)


def _key_in_bucket(call: Call, bucket: str, key: str, name: Any, with_bucket_key: bool) -> list[Thing]:
    arn = f"arn:aws:s3:::{bucket}"
    return _key(call, name, **{"aws:s3:arn": arn if with_bucket_key else f"{arn}/{key}"})


def _key_that_encrypts(call: Call, bucket: str, key: str, version: str | None) -> list[Thing]:
    with MOTO_LOCK:
        found_bucket = policies_in_force.bucket(bucket)
        keys = found_bucket.keys.getlist(key, []) if found_bucket is not None else []
        found = [k for k in keys if version in (None, str(k.version_id))]
        one = found[-1] if found else None
        if one is None or getattr(one, "encryption", None) != "aws:kms":
            return []
        return _key_in_bucket(call, bucket, key, one.kms_key_id, bool(one.bucket_key_enabled))


@_finder("key of the object")
def _key_of_object(call: Call) -> list[Thing]:
    return _key_that_encrypts(call, call.params["Bucket"], call.params["Key"], call.params.get("versionId"))


@_finder("key of the object to be put")
def _key_of_new_object(call: Call) -> list[Thing]:
    with MOTO_LOCK:
        bucket = policies_in_force.bucket(call.params["Bucket"])
        rule = ((bucket.encryption if bucket is not None else None) or {}).get("Rule") or {}
        default = rule.get("ApplyServerSideEncryptionByDefault") or {}
        name = call.header("x-amz-server-side-encryption-aws-kms-key-id")
        algorithm = call.header("x-amz-server-side-encryption") or default.get("SSEAlgorithm")
        if algorithm != "aws:kms":
            return []
        asked = call.header("x-amz-server-side-encryption-bucket-key-enabled")
        with_bucket_key = str(asked or rule.get("BucketKeyEnabled")).lower() == "true"
        key_id = name or default.get("KMSMasterKeyID")
        return _key_in_bucket(call, call.params["Bucket"], call.params["Key"], key_id, with_bucket_key)


@_finder("package")
def _package(call: Call) -> list[Thing]:
    bucket, key = call.input["S3Bucket"], call.input["S3Key"]
    return _one(f"arn:aws:s3:::{bucket}/{key}", _owner(bucket))


@_finder("key of the package")
def _key_of_package(call: Call) -> list[Thing]:
    return _key_that_encrypts(
        call, call.input["S3Bucket"], call.input["S3Key"], call.input.get("S3ObjectVersion")
    )


# --- Amazon SNS, SQS ----------------------------------------------------------------------------------------


def _topic_of(call: Call) -> str:
    return str(call.params.get("TopicArn") or call.params.get("TargetArn") or "")


@_finder("topic")
def _topic(call: Call) -> list[Thing]:
    return _one(_topic_of(call))


@_finder("key of the topic")
def _key_of_topic(call: Call) -> list[Thing]:
    arn = _topic_of(call)
    with MOTO_LOCK:
        found = policies_in_force.topic(arn)
        name = found.kms_master_key_id if found is not None else None
    return _key(call, name, **{"aws:sns:topicArn": arn})


@_finder("queue")
def _queue(call: Call) -> list[Thing]:
    account, name = str(call.input["QueueUrl"]).rsplit("/", 2)[1:]
    return _one(f"arn:aws:sqs:{call.region}:{account}:{name}")


# --- others -------------------------------------------------------------------------------------------------


@_finder("function")
def _function(call: Call) -> list[Thing]:
    arn = _full(call, "lambda", "function:", call.params["FunctionName"])
    qualifier = call.params.get("Qualifier")
    return _one(f"{arn}:{qualifier}" if qualifier else arn)


@_finder("state machine")
def _machine(call: Call) -> list[Thing]:
    return _one(str(call.input.get("stateMachineArn") or call.input["resourceArn"]))


@_finder("execution")
def _execution(call: Call) -> list[Thing]:
    return _one(str(call.input["executionArn"]))


@_finder("role to be assumed")
def _role(call: Call) -> list[Thing]:
    return _one(call.params["RoleArn"])


@_finder("principal to be simulated")
def _simulated(call: Call) -> list[Thing]:
    return _one(call.params["PolicySourceArn"])


@_finder("pipeline")
def _pipeline(call: Call) -> list[Thing]:
    return _one(_arn(call, "codepipeline", str(call.input.get("pipelineName") or call.input.get("name"))))


@_finder("build project")
def _project(call: Call) -> list[Thing]:
    names = [call.input["projectName"]] if "projectName" in call.input else call.input.get("ids") or ()
    found = {
        _full(call, "codebuild", "project/", str(name).rpartition(":build/")[2].partition(":")[0])
        for name in names
    }
    return [thing for arn in sorted(found) for thing in _one(arn)]


@_finder("git repository")
def _repository(call: Call) -> list[Thing]:
    return _one(_arn(call, "codecommit", str(call.input["repositoryName"])))


@_finder("image repository")
def _images(call: Call) -> list[Thing]:
    account = str(call.input.get("registryId") or call.account)
    names = call.input.get("repositoryNames") or [call.input.get("repositoryName") or "*"]
    return [t for n in names for t in _one(f"arn:aws:ecr:{call.region}:{account}:repository/{n}")]


@_finder("log stream")
def _stream(call: Call) -> list[Thing]:
    group, stream = call.input.get("logGroupName"), call.input.get("logStreamName", "*")
    return _one(_arn(call, "logs", f"log-group:{group}:log-stream:{stream}"))


@_finder("log group")
def _group(call: Call) -> list[Thing]:
    return _one(_arn(call, "logs", f"log-group:{call.input.get('logGroupName')}:*"))


# --- condition keys -----------------------------------------------------------------------------------------


def _definition_arn(call: Call) -> str | None:
    found = task_definition(call)
    return found.arn if found else None


def _tags(call: Call) -> list[dict[str, str]]:
    return call.input.get("tags") or []


VALUES: dict[str, Callable[[Call], str | Iterable[str] | None]] = {
    "ecs:cluster": cluster_arn,
    "ecs:task-definition": _definition_arn,
    "aws:TagKeys": lambda call: [tag["key"] for tag in _tags(call)],
    "events:TargetArn": lambda call: [target["Arn"] for target in call.input.get("Targets") or ()],
    "s3:versionid": lambda call: call.params.get("versionId"),
    "sts:ExternalId": lambda call: call.params.get("ExternalId"),
    "sts:RoleSessionName": lambda call: call.params.get("RoleSessionName"),
    "dynamodb:Select": lambda call: call.input.get("Select"),
}
"""Condition key -> its value in a call; None where it is not there."""
