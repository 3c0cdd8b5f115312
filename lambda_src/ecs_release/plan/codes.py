"""The stable codes of what the plan finds, each with its title and its sentence.

A code never changes its meaning and is never used again for something else; gaps are room for new ones. Codes that begin with E
block their item, and with it the release; codes that begin with W are warnings. ``docs/errors.md`` explains each, and a test holds
the two in step.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """What findings of one code have in common.

    Attributes
    ----------
    title : what it is called in documents, and where there is no room for a sentence.
    text : one sentence about one item, with the finding's values in braces.
    of_several : the same about several items whose values differ; None: ``text`` has no values, or they say what matters.
    overridable : ``ignore`` in the manifest turns it into something that is only recorded. None that guards a promise is:
        truth, the way back, what somebody else set.
    """

    title: str
    text: str
    of_several: str | None = None
    overridable: bool = False


CODES = {
    # What an item names
    "E201": Kind("no such target", 'there is no target "{target}"; the module was given {known}.'),
    "E202": Kind("a target that can't be reached", "{why}"),
    "E203": Kind("can't be read", "can't be read: {why}"),
    "E204": Kind("no such cluster", 'there is no cluster "{cluster}" in this account and Region.'),
    "E205": Kind("no such service", 'there is no service "{service}" in the cluster "{cluster}".'),
    "E206": Kind("a service that is not ACTIVE", "the service is {status}, not ACTIVE."),
    "E207": Kind(
        "a service with another deployment controller",
        "its deployment controller is {controller}; ECS Release can only update services with the ECS controller.",
    ),
    "E208": Kind("no such rule, schedule or task definition", "{why}"),
    "E209": Kind(
        "a task definition that is gone",
        "{where} names {revision}, which can't be read any more ({why}), so nothing can be started of it. {todo}, then "
        "release again.",
    ),
    "E210": Kind(
        "a role that is denied the start",
        "a policy denies {role}, which starts it, {missing}{because}: it would start nothing. Change that policy, or give the "
        "target another role.",
    ),
    "E211": Kind(
        "a rule of an AWS service",
        "the rule is managed by {owner}, which alone may change its targets. Take it out of the manifest.",
    ),
    # Containers and targets
    "E220": Kind(
        "no such container", '{where}no container "{container}" in {revision}; it has {containers}.'
    ),
    "E221": Kind("no target with this id", '{where} has no target with the id "{id}".'),
    "E222": Kind("no target that runs an ECS task", "{where} has no target that runs an ECS task."),
    "E223": Kind(
        "targets of several families",
        "{where} has targets of several task definition families with these containers ({families}); name one with targetId.",
    ),
    "E224": Kind(
        "no target with these containers",
        "no target of {where} has the container {wanted}; they have {containers}.",
    ),
    "E225": Kind(
        "targets at different revisions",
        "{where} has targets at different revisions ({revisions}); name one with targetId.",
    ),
    "E226": Kind(
        "a family without a revision, deployed before its turn",
        "it names the family {family} without a revision, and {other} of this release registers one in it, which would deploy it "
        "before its turn; let it name {live}{alone}.",
    ),
    "E227": Kind(
        "no ECS task",
        "{where} starts {what}; ECS Release changes what starts an ECS task. Take it out of the manifest, or name the rule or "
        "schedule that runs the task.",
    ),
    "E228": Kind(
        "a target whose task definition can't be told",
        "{where} is there to start an ECS task, and {what}. Give it one, as family:revision or as an ARN, then release again.",
    ),
    # What is copied
    "E232": Kind(
        "a newer revision without the container",
        "{newer}, which somebody else registered after {live} and base: newest copies, has no container {missing}; "
        "it has {containers}. Name one of these, or write base: live.",
    ),
    "E233": Kind(
        "the newest revision can't be asked for",
        "base: newest copies the newest revision of {family}, and whether one is newer than what is live can't be asked, "
        "so mend that or write base: live: {why}",
    ),
    # What would be registered
    "E240": Kind(
        "a revision without room for a tag",
        "{revision} has {tags} tags, the most that AWS allows; remove one to make room for {tag}.",
    ),
    "E241": Kind("an image that ECR does not have", "ECR has no image {image} ({code})."),
    "E242": Kind(
        "an image for another architecture",
        "{image} was built for {platforms}, and its tasks run on {wanted}.",
        overridable=True,
    ),
    "E243": Kind(
        "a role that may not be passed on",
        "the deployment role may not pass {role} on; add it to passable_role_arns.",
    ),
    "E248": Kind(
        "an answer of AWS that is not understood",
        "AWS answers something unexpected about it: {why}. Look at it in the AWS console or with the AWS CLI; the other items are "
        "planned.",
    ),
    "E249": Kind(
        "a deadline before the end of the bake time",
        "ECS waits {bake} minutes before it calls a rollout of this service complete, and timeoutMinutes is {timeout}; write "
        "timeoutMinutes: {write}.",
    ),
    "E250": Kind(
        "a deadline before the end of a pause",
        "its rollout may pause for {minutes} minutes at {stages} until somebody continues it, and timeoutMinutes is {timeout}; "
        "write timeoutMinutes: {write}, or where somebody will continue it in time, ignore: [E250].",
        "its rollout may pause for longer than timeoutMinutes; write more, or where somebody will continue it in time, "
        "ignore: [E250].",
        overridable=True,
    ),
    "E251": Kind(
        "a rollout that takes longer than a release can",
        "ECS waits {bake} minutes before it calls a rollout of this service complete, and a release can wait {longest} at most; "
        "shorten the bake times of the service, or deploy it by other means.",
    ),
    # What was done by hand
    "E260": Kind(
        "images that were undone by hand",
        "{release} undid {images} here by hand, and the manifest would put it back; name another image, or lift the hold with: "
        "{command}",
    ),
    # Warnings
    "W201": Kind(
        "a container of another name",
        '"{written}" is not the name of the only container, "{container}"; that one is meant.',
    ),
    "W202": Kind(
        "a family without a revision",
        "{where} names the family {family} without a revision, so registering is deploying: its revision is registered in its "
        "turn, and it is pinned to a revision from then on.",
    ),
    "W203": Kind(
        "start date passed",
        "its start date has passed; where Scheduler refuses to take it again it is left out, which changes nothing.",
    ),
    "W204": Kind(
        "start date of a rate passed",
        "its start date has passed, and Scheduler may refuse to take it again; a rate counts from it, so it is not left out. "
        "If that happens, give the schedule a new start date.",
    ),
    "W205": Kind(
        "a write that was not finished",
        "{where} has targets at different revisions ({revisions}) that earlier releases set; all of them are written.",
    ),
    "W206": Kind(
        "a revision that was deregistered",
        "it names {revision}, which is {status}: nothing can be started of it. An equal revision is registered and named instead; "
        "going back would name one that is equal as well.",
        "they name revisions that were deregistered: nothing can be started of those. Equal ones are registered and named instead; "
        "going back would name ones that are equal as well.",
    ),
    "W207": Kind(
        "disabled",
        "disabled: its target is changed, and nothing is started before somebody enables it. Enable what is meant to run.",
    ),
    "W208": Kind(
        "a schedule that has ended",
        "it has ended ({end}), so it starts nothing any more. Scheduler may refuse to change it: give it a later end, or take it "
        "out of the manifest.",
        "they have ended, so they start nothing any more. Scheduler may refuse to change them: give them a later end, or take "
        "them out of the manifest.",
    ),
    "W209": Kind(
        "not known whether it is enabled",
        "not known whether the rule is enabled ({why}). Allow events:DescribeRule to whoever makes the plan, or look at the rule.",
        "not known whether these rules are enabled: EventBridge did not say. Allow events:DescribeRule to whoever makes the plan, "
        "or look at the rules.",
    ),
    "W210": Kind(
        "a role that may not start it",
        "IAM finds nothing that allows {role}, which starts it, what that takes{because}: it would start nothing, and its verdict "
        "is UNVERIFIED. Allow {grant}.",
        "IAM finds nothing that allows the roles which start these to run, pass on or tag what they would name: they would start "
        "nothing, and their verdict is UNVERIFIED. What to allow is said with each in plan --json and on the plan's page.",
    ),
    "W211": Kind(
        "not known whether its role may start it",
        "not known whether {role} may start it: {why}. The verdict does not cover that: see to it yourself that it may run the "
        "next revision and pass its roles on.",
        "not known whether the roles that start these may do so: IAM could not be asked, or needs what is only known at the start. "
        "The verdicts do not cover that: allow iam:SimulatePrincipalPolicy to whoever makes the plan, or see to it yourself that "
        "they may run the next revisions and pass their roles on. Why is said with each in plan --json and on the plan's page.",
    ),
    "W212": Kind(
        "a role that is denied the start of what is unchanged",
        "a policy denies {role}, which starts it, {missing}{because}: it starts nothing, and its verdict is UNVERIFIED. Change "
        "that policy, or give the target another role.",
        "policies deny the roles which start these what that takes: they start nothing, and their verdict is UNVERIFIED. Change "
        "the policies, or give the targets other roles.",
    ),
    "W220": Kind("another registry", "another registry: {from} -> {to}.", overridable=True),
    "W221": Kind("another repository", "another repository: {from} -> {to}.", overridable=True),
    "W222": Kind(
        "downgrade",
        "downgrade: {from} -> {to}; make sure that it is meant.",
        "downgrade: the new tag is a lower version; make sure that it is meant.",
        overridable=True,
    ),
    "W223": Kind(
        "its tag can be moved",
        "its tag can be moved: the repository lets tags be overwritten; make its tags immutable, or name the image by its digest.",
        overridable=True,
    ),
    "W224": Kind(
        "no registry was asked",
        "no registry was asked: {image} {why}; make sure that it exists.",
        "no registry was asked: nobody has looked these images up; make sure that they exist.",
        overridable=True,
    ),
    "W225": Kind(
        "ECR can't tell",
        "ECR can't tell about {image} ({why}); make sure that it exists.",
        "ECR can't tell about these images; make sure that they exist.",
        overridable=True,
    ),
    "W226": Kind(
        "its tag was moved",
        "unchanged by its name, but the tag was moved: {image} runs as {ran} and means {now} by now. To deploy that, write "
        "{pinned}, or run: {command}",
        "unchanged by their names, but their tags were moved since they were deployed. To deploy what the tags mean by now, write "
        "the digests, or run aws ecs update-service with --force-new-deployment.",
    ),
    "W227": Kind(
        "what runs is gone from ECR",
        "{image}, which runs, is gone from ECR ({code}), so no new task of it can start; push it again, or name another image.",
        "the images that run are gone from ECR, so no new task of them can start; push them again, or name others.",
    ),
    "W232": Kind(
        "a newer revision is left aside",
        "{newer}, which somebody else registered after {live}, is not what this release copies; it differs in {differences}. "
        "base: newest takes it up.",
        "somebody else registered newer revisions, and this release copies what is live; base: newest takes them up.",
    ),
    "W233": Kind(
        "a newer revision is taken up",
        "{newer}, which somebody else registered after {live}, is copied, and deployed with the images; "
        "it differs in {differences}.",
        "newer revisions, which somebody else registered, are copied, and deployed with the images.",
    ),
    "W234": Kind(
        "newer revisions can't be asked for",
        "whether somebody else registered a newer revision of {family} can't be asked ({why}); look at the family.",
        "whether somebody else registered newer revisions can't be asked; look at the families.",
    ),
    "W240": Kind(
        "no circuit breaker",
        "no circuit breaker: a rollout that can't succeed is only noticed at its deadline; switch it on in the service.",
        overridable=True,
    ),
    "W241": Kind(
        "no way back",
        "no way back: ECS remembers no completed deployment, so back means what is live now; make sure that it works.",
    ),
    "W242": Kind(
        "what is live never completed",
        "what is live ({live}) never completed; back means {before}. Make sure that you would go back to that.",
        "what is live never completed; back means the last completed deployment. Make sure that you would go back to that.",
    ),
    "W243": Kind(
        "desired count 0", "desired count is 0, so its rollout can't be proven; look at it once it runs."
    ),
    "W244": Kind(
        "an Express Mode service",
        "it is a service of ECS Express Mode: UpdateService gives it the new revision, and the next UpdateExpressGatewayService "
        "may start from the image that was set there before; set the new one there too.",
        overridable=True,
    ),
    "W245": Kind(
        "a rollout that can't get on",
        "{why}: ECS may neither stop an old task nor start a new one; lower minimumHealthyPercent or raise maximumPercent.",
        "the deployment configuration lets ECS neither stop an old task nor start a new one; lower minimumHealthyPercent or raise "
        "maximumPercent.",
        overridable=True,
    ),
    "W246": Kind(
        "a pause in its rollout",
        "its rollout pauses at {stages} until somebody continues it (after {minutes} minutes: {then}), and so does going back once "
        "it is complete; ecs-release status shows the command once it waits.",
        "its rollout pauses until somebody continues it, and so does going back once it is complete; ecs-release status shows the "
        "command once it waits.",
        overridable=True,
    ),
    "W247": Kind(
        "deadlines that add up to more than a release can wait",
        "the deadlines of waves 0 to {wave} add up to {minutes} minutes, and a release with its way back has {longest}: it may be "
        "stopped before a deadline; lower timeoutMinutes, or make two releases.",
        overridable=True,
    ),
    "W248": Kind(
        "nothing checks its health",
        "nothing checks its health: ECS calls a task healthy once it has run for 40 seconds; give it a container health check, a "
        "load balancer or deployment alarms.",
        overridable=True,
    ),
    "W249": Kind(
        "a rollout that is running now",
        "a rollout of it is running now ({deployment}), and this release would take its place; wait for its end.",
        "a rollout of it is running now, and this release would take its place; wait for its end.",
        overridable=True,
    ),
    "W250": Kind(
        "nobody knows on which platform its tasks run",
        "{image} was built for {platforms}, and its tasks run on {wanted}, as far as is known; name a runtimePlatform in the task "
        "definition, or see to it that all instances are of that kind.",
        "the images were built for platforms that its tasks may not run on; name a runtimePlatform in the task definition.",
        overridable=True,
    ),
    "W251": Kind(
        "an image for another build of Windows",
        "{image} was built for {platforms}, and its tasks run on {family}; Windows runs containers of its own "
        "build; name an image for it.",
        "the images were built for another build of Windows than its tasks run on; name images for that one.",
        overridable=True,
    ),
    "W252": Kind(
        "not all of its tasks run",
        "{running} of {desired} tasks run now; look at it before you release it.{said}",
        "not all of its tasks run now; look at it before you release it.",
        overridable=True,
    ),
    "W253": Kind(
        "complete before all of its tasks are healthy",
        "ECS calls its rollout complete at {percent} % healthy tasks (earlySuccessCriteria), and so does this release; "
        "look at the others afterwards.",
        "ECS calls its rollout complete before all tasks are healthy (earlySuccessCriteria), and so does this release; look "
        "at the others afterwards.",
        overridable=True,
    ),
    "W260": Kind(
        "an earlier release is not whole",
        "release {release} did not end whole; back means {before}.",
        "an earlier release did not end whole; back means what ran before it.",
    ),
    "W261": Kind(
        "deployed by somebody else since",
        "release {release} did not end whole, and somebody else deployed since; back means {before}.",
        "an earlier release did not end whole, and somebody else deployed since; back means what completed last.",
    ),
    # The way back
    "W262": Kind(
        "the image to go back to is gone",
        "no way back: {image}, which {before} runs, is gone from ECR ({code}); push it again first.",
        "no way back: the images that would be gone back to are gone from ECR; push them again first.",
    ),
    "W263": Kind(
        "goes back by digest",
        "the tag of {image} {now}; a rollback goes back to what ran, {pinned}.",
        "their tags do not mean any more what ran; a rollback goes back to the digests that ran.",
    ),
    "W264": Kind(
        "what ran is gone",
        "no way back: {image} ran as {ran}, which is gone from ECR, and its tag means {now} by now; push what ran again "
        "first.",
        "no way back: what ran is gone from ECR, and the tags mean something else by now; push what ran again first.",
    ),
    "W265": Kind(
        "the revision to go back to is gone",
        "no way back: {before} {why}, and nothing can be made of it any more.",
        "no way back: the revisions that would be gone back to are gone, or are being deleted.",
    ),
    "W266": Kind(
        "way back not known",
        "nobody has looked whether the way back is still there: {what} {why}; make sure that it is.",
        "nobody has looked whether the way back is still there: no registry was asked, or it can't tell; "
        "make sure that it is.",
    ),
}
