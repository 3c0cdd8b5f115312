"""The codes of what blocks an item, and with it the release."""

from __future__ import annotations

from ecs_release.plan.kind import Kind

PROBLEMS = {
    # What an item names
    "E201": Kind(
        "no such target",
        'there is no target "{target}"; the module was given {known}.',
        "Correct the name, or add the target to the module's input targets.",
    ),
    "E202": Kind(
        "a target that can't be reached",
        "{why}",
        "Apply modules/deployment_role of this version there, or correct the role in the module's input targets.",
    ),
    "E203": Kind(
        "can't be read",
        "can't be read: {why}.",
        "Give the reader role of its target the permission: apply the module there, or modules/deployment_role, in this version.",
    ),
    "E204": Kind(
        "no such cluster",
        'there is no cluster "{cluster}" in the account and Region of its target;',
        "correct clusterName or target.",
    ),
    "E205": Kind(
        "no such service",
        'there is no service "{service}" in the cluster "{cluster}";',
        "correct serviceName, or create the service first.",
    ),
    "E206": Kind(
        "a service that is not ACTIVE",
        "the service is {status}, not ACTIVE;",
        "wait until it is gone, then create it again or take it out of the manifest.",
    ),
    "E207": Kind(
        "a service with another deployment controller",
        "its deployment controller is {controller}, and ECS Release can only update services with the ECS controller;",
        "switch it to that one, or take it out of the manifest.",
    ),
    "E208": Kind(
        "no such rule, schedule or task definition",
        "{why};",
        "correct the name, or create it first.",
    ),
    "E209": Kind(
        "a task definition that is gone",
        "{where} starts nothing any more: {why}.",
        "{todo}, then release again.",
    ),
    "E210": Kind(
        "a role that is denied the start",
        "a policy denies {role}, which starts it, {missing}{because}: it would start nothing.",
        "Change that policy, or give the target another role.",
    ),
    "E211": Kind(
        "a rule of an AWS service",
        "the rule is managed by {owner}, which alone may change its targets.",
        "Take it out of the manifest.",
    ),
    # Containers and targets
    "E220": Kind(
        "no such container",
        '{where}no container "{container}" in {revision}; it has {containers}.',
        "Write one of these names.",
    ),
    "E221": Kind(
        "no target with this id",
        '{where} has no target with the id "{id}";',
        "correct targetId, or leave it out where only one target runs these containers.",
    ),
    "E222": Kind(
        "no target that runs an ECS task",
        "{where} has no target that runs an ECS task;",
        "name the rule or schedule that runs it, or take it out of the manifest.",
    ),
    "E223": Kind(
        "targets of several families",
        "{where} has targets of several task definition families with these containers ({families});",
        "name one with targetId.",
    ),
    "E224": Kind(
        "no target with these containers",
        "no target of {where} has the container {wanted}; they have {containers}.",
        "Write one of these names.",
    ),
    "E225": Kind(
        "targets at different revisions",
        "{where} has targets at different revisions ({revisions});",
        "name one with targetId.",
    ),
    "E226": Kind(
        "a family without a revision, deployed before its turn",
        "it names the family {family} without a revision, and {other} of this release registers one in it, which would deploy it "
        "before its turn;",
        "let it name {live}{alone}.",
    ),
    "E227": Kind(
        "no ECS task",
        "{where} starts {what}; ECS Release changes what starts an ECS task.",
        "Take it out of the manifest, or name the rule or schedule that runs the task.",
    ),
    "E228": Kind(
        "a target whose task definition can't be told",
        "{where} is there to start an ECS task, and {what}.",
        "Give it a task definition, as family:revision or as an ARN, then release again.",
    ),
    "E229": Kind(
        "a one-time schedule that would run again",
        "its moment has passed ({moment}), and Scheduler may start its task at once when it is changed;",
        "take it out of the manifest, or give it a later moment first.",
        "their moments have passed, and Scheduler may start their tasks at once when they are changed;",
        "take them out of the manifest, or give them later moments first.",
    ),
    # What is copied
    "E232": Kind(
        "a newer revision without the container",
        "{newer}, which somebody else registered after {live} and base: newest copies, has no container {missing}; "
        "it has {containers}.",
        "Name one of these, or write base: live.",
    ),
    "E233": Kind(
        "the newest revision can't be asked for",
        "base: newest copies the newest revision of {family}, and whether one is newer than what is live can't be asked: {why};",
        "allow that to the reader role of the target, or write base: live.",
    ),
    # What would be registered
    "E240": Kind(
        "a revision without room for a tag",
        "{revision} has {tags} tags, the most that AWS allows;",
        "remove one to make room for {tag}.",
    ),
    "E241": Kind(
        "an image that ECR does not have",
        "ECR has no image {image} ({code});",
        "push it first, or correct its name.",
    ),
    "E242": Kind(
        "an image for another architecture",
        "{image} was built for {platforms}, and its tasks run on {wanted};",
        "build it for that platform, or name another image.",
        "the images were built for other platforms than their tasks run on;",
        "build them for those, or name other images.",
        overridable=True,
    ),
    "E243": Kind(
        "a role that may not be passed on",
        "the deployment role may not pass {role} on;",
        "add it to passable_role_arns.",
    ),
    "E248": Kind(
        "an answer of AWS that is not understood",
        "AWS answers something unexpected about it: {why}.",
        "Look at it in the AWS console or with the AWS CLI; the other items are planned.",
    ),
    "E249": Kind(
        "a deadline before the end of the bake time",
        "ECS waits {bake} minutes before it calls a rollout of this service complete, and timeoutMinutes is {timeout};",
        "write timeoutMinutes: {write}.",
    ),
    "E250": Kind(
        "a deadline before the end of a pause",
        "its rollout may pause for {minutes} minutes at {stages} until somebody continues it, and timeoutMinutes is {timeout};",
        "write timeoutMinutes: {write}, or where somebody will continue it in time, ignore: [E250].",
        "its rollout may pause for longer than timeoutMinutes;",
        "write more, or where somebody will continue it in time, ignore: [E250].",
        overridable=True,
    ),
    "E251": Kind(
        "a rollout that takes longer than a release can",
        "ECS waits {bake} minutes before it calls a rollout of this service complete, and a release can wait {longest} at most;",
        "shorten the bake times of the service, or deploy it by other means.",
    ),
    # What was done by hand
    "E260": Kind(
        "images that were undone by hand",
        "{release} undid {images} here by hand, and the manifest would put it back;",
        "name another image, or lift the hold with: {command}",
    ),
}
