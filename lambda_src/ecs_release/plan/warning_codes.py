"""The codes of what whoever approves has to know: warnings."""

from __future__ import annotations

from ecs_release.plan.kind import Kind

NOTHING_TO_DO = "Nothing to do."

WARNINGS = {
    "W201": Kind(
        "a container of another name",
        '"{written}" is not the name of the only container, "{container}"; that one is meant.',
        "Write its name.",
        "the names that are written are not those of their only containers; those are meant.",
        "Write their names.",
    ),
    "W202": Kind(
        "a family without a revision",
        "{where} names the family {family} without a revision, so registering is deploying: its revision is registered in its "
        "turn, and it is pinned to a revision from then on.",
        "Let infrastructure code that manages it ignore the revision.",
        "they name families without a revision, so registering is deploying: their revisions are registered in their turn, and "
        "they are pinned to a revision from then on.",
        "Let infrastructure code that manages them ignore the revision.",
    ),
    "W203": Kind(
        "start date passed",
        "its start date has passed; where Scheduler refuses to take it again it is left out, which changes nothing.",
        NOTHING_TO_DO,
    ),
    "W204": Kind(
        "start date of a rate passed",
        "its start date has passed, and Scheduler may refuse to take it again; a rate counts from it, so it is not left out.",
        "If that happens, give the schedule a new start date.",
    ),
    "W205": Kind(
        "a write that was not finished",
        "{where} has targets at different revisions ({revisions}) that earlier releases set; all of them are written.",
        NOTHING_TO_DO,
        "their targets are at different revisions that earlier releases set; all of them are written.",
    ),
    "W206": Kind(
        "a revision that was deregistered",
        "it names {revision}, which is {status}: nothing can be started of it. An equal revision is registered and named instead; "
        "going back would name one that is equal as well.",
        "Find out who deregisters what is still named.",
        "they name revisions that were deregistered: nothing can be started of those. Equal ones are registered and named instead; "
        "going back would name ones that are equal as well.",
    ),
    "W207": Kind(
        "disabled",
        "disabled: its target is changed, and nothing is started before somebody enables it.",
        "Enable what is meant to run.",
    ),
    "W208": Kind(
        "a schedule that has ended",
        "it has ended ({end}), so it starts nothing any more. Scheduler may refuse to change it:",
        "give it a later end, or take it out of the manifest.",
        "they have ended, so they start nothing any more. Scheduler may refuse to change them:",
        "give them a later end, or take them out of the manifest.",
    ),
    "W209": Kind(
        "not known whether it is enabled",
        "not known whether the rule is enabled ({why}).",
        "Allow events:DescribeRule to whoever makes the plan, or look at the rule.",
        "not known whether these rules are enabled: EventBridge did not say.",
        "Allow events:DescribeRule to whoever makes the plan, or look at the rules.",
    ),
    "W210": Kind(
        "a role that may not start it",
        "IAM finds nothing that allows {role}, which starts it, what that takes{because}: it would start nothing, and its verdict "
        "is UNVERIFIED.",
        "Allow {grant}.",
        "IAM finds nothing that allows the roles which start these to run, pass on or tag what they would name: they would start "
        "nothing, and their verdict is UNVERIFIED.",
        "Allow what is said with each in plan --json and on the plan's page.",
    ),
    "W211": Kind(
        "not known whether its role may start it",
        "not known whether {role} may start it: {why}. The verdict does not cover that:",
        "see to it yourself that it may run the next revision and pass its roles on.",
        "not known whether the roles that start these may do so: IAM could not be asked, or needs what is only known at the start "
        "(plan --json and the plan's page say which). The verdicts do not cover that:",
        "allow iam:SimulatePrincipalPolicy to whoever makes the plan, or see to it yourself that they may run the next revisions "
        "and pass their roles on.",
    ),
    "W212": Kind(
        "a role that is denied the start of what is unchanged",
        "a policy denies {role}, which starts it, {missing}{because}: it starts nothing, and its verdict is UNVERIFIED.",
        "Change that policy, or give the target another role.",
        "policies deny the roles which start these what that takes: they start nothing, and their verdict is UNVERIFIED.",
        "Change the policies, or give the targets other roles.",
    ),
    "W220": Kind(
        "another registry",
        "another registry: {from} -> {to};",
        "make sure that it is one of yours.",
        "their images come from other registries;",
        "make sure that these are yours.",
        overridable=True,
    ),
    "W221": Kind(
        "another repository",
        "another repository: {from} -> {to};",
        "make sure that it is the one that is meant.",
        "their images come from other repositories;",
        "make sure that these are the ones that are meant.",
        overridable=True,
    ),
    "W222": Kind(
        "downgrade",
        "downgrade: {from} -> {to};",
        "make sure that it is meant.",
        "downgrade: the new tag is a lower version;",
        overridable=True,
    ),
    "W223": Kind(
        "its tag can be moved",
        "its tag can be moved: the repository lets tags be overwritten;",
        "make its tags immutable, or name the image by its digest.",
        overridable=True,
    ),
    "W224": Kind(
        "no registry was asked",
        "no registry was asked: {image} {why};",
        "make sure that it exists.",
        "no registry was asked: nobody has looked these images up;",
        "make sure that they exist.",
        overridable=True,
    ),
    "W225": Kind(
        "ECR can't tell",
        "ECR can't tell all about {image} ({why});",
        "look it up yourself.",
        "ECR can't tell all about these images;",
        "look them up yourself.",
        overridable=True,
    ),
    "W226": Kind(
        "its tag was moved",
        "unchanged by its name, but the tag was moved: {image} runs as {ran}, and by now means {pinned}.",
        "To deploy that, write it so, or run: {command}",
        "unchanged by their names, but their tags were moved since they were deployed.",
        "To deploy what the tags mean by now, write the digests, or run aws ecs update-service with --force-new-deployment.",
    ),
    "W227": Kind(
        "what runs is gone from ECR",
        "{image}, which runs, is gone from ECR ({code}), so no new task of it can start;",
        "push it again, or name another image.",
        "the images that run are gone from ECR, so no new task of them can start;",
        "push them again, or name others.",
    ),
    "W232": Kind(
        "a newer revision is left aside",
        "{newer}, which somebody else registered after {live}, is not what this release copies; it differs in {differences}.",
        "To take it up, write base: newest.",
        "somebody else registered newer revisions, and this release copies what is live.",
        "To take them up, write base: newest.",
    ),
    "W233": Kind(
        "a newer revision is taken up",
        "{newer}, which somebody else registered after {live}, is copied, and deployed with the images; "
        "it differs in {differences}.",
        "Make sure that this is meant.",
        "newer revisions, which somebody else registered, are copied, and deployed with the images.",
    ),
    "W234": Kind(
        "newer revisions can't be asked for",
        "whether somebody else registered a newer revision of {family} can't be asked ({why});",
        "look at the family.",
        "whether somebody else registered newer revisions can't be asked;",
        "look at the families.",
    ),
    "W240": Kind(
        "no circuit breaker",
        "no circuit breaker: a rollout that can't succeed is only noticed at its deadline;",
        "switch it on in the service.",
        overridable=True,
    ),
    "W241": Kind(
        "no way back",
        "no way back: ECS remembers no completed deployment, so back means what is live now;",
        "make sure that it works.",
    ),
    "W242": Kind(
        "what is live never completed",
        "what is live ({live}) never completed; back means {before}.",
        "Make sure that you would go back to that.",
        "what is live never completed; back means the last completed deployment.",
    ),
    "W243": Kind(
        "desired count 0",
        "desired count is 0, so its rollout can't be proven;",
        "look at it once it runs.",
    ),
    "W244": Kind(
        "an Express Mode service",
        "it is a service of ECS Express Mode: UpdateService gives it the new revision, and the next UpdateExpressGatewayService "
        "may start from the image that was set there before;",
        "set the new one there too.",
        overridable=True,
    ),
    "W245": Kind(
        "a rollout that can't get on",
        "{why}: ECS may neither stop an old task nor start a new one;",
        "lower minimumHealthyPercent or raise maximumPercent.",
        "the deployment configuration lets ECS neither stop an old task nor start a new one;",
        overridable=True,
    ),
    "W246": Kind(
        "a pause in its rollout",
        "its rollout pauses at {stages} until somebody continues it (after {minutes} minutes: {then}), and so does going back once "
        "it is complete.",
        "Have somebody at hand: ecs-release status shows the command once it waits.",
        "its rollout pauses until somebody continues it, and so does going back once it is complete.",
        overridable=True,
    ),
    "W247": Kind(
        "deadlines that add up to more than a release can wait",
        "the deadlines of waves 0 to {wave} add up to {minutes} minutes, and a release with its way back has {longest}: it may be "
        "stopped before a deadline;",
        "lower timeoutMinutes, or make two releases.",
        overridable=True,
    ),
    "W248": Kind(
        "nothing checks its health",
        "nothing checks its health: ECS calls a task healthy once it has run for 40 seconds{watched};",
        "give it a container health check, a load balancer or deployment alarms{else}.",
        "nothing checks its health: ECS calls a task healthy once it has run for 40 seconds; then only soak_seconds watches it;",
        "give it a container health check, a load balancer or deployment alarms.",
        overridable=True,
    ),
    "W249": Kind(
        "a rollout that is running now",
        "a rollout of it is running now ({deployment}), and this release would take its place;",
        "wait for its end.",
        "a rollout of it is running now, and this release would take its place;",
        overridable=True,
    ),
    "W250": Kind(
        "nobody knows on which platform its tasks run",
        "{image} was built for {platforms}, and its tasks run on {wanted}, as far as is known;",
        "name a runtimePlatform in the task definition, or see to it that all instances are of that kind.",
        "the images were built for platforms that its tasks may not run on;",
        "name a runtimePlatform in the task definition.",
        overridable=True,
    ),
    "W251": Kind(
        "an image for another build of Windows",
        "{image} was built for {platforms}, and its tasks run on {family}; Windows runs containers of its own build;",
        "name an image for it.",
        "the images were built for another build of Windows than its tasks run on;",
        "name images for that one.",
        overridable=True,
    ),
    "W252": Kind(
        "not all of its tasks run",
        "{running} of {desired} tasks run now.{said}",
        "Find out why before you release it.",
        "not all of its tasks run now.",
        overridable=True,
    ),
    "W253": Kind(
        "complete before all of its tasks are healthy",
        "ECS calls its rollout complete at {percent} % healthy tasks (earlySuccessCriteria), and so does this release;",
        "look at the others afterwards.",
        "ECS calls its rollout complete before all tasks are healthy (earlySuccessCriteria), and so does this release;",
        overridable=True,
    ),
    "W260": Kind(
        "an earlier release is not whole",
        "release {release} did not end whole; back means {before}.",
        NOTHING_TO_DO,
        "an earlier release did not end whole; back means what ran before it.",
    ),
    "W261": Kind(
        "deployed by somebody else since",
        "release {release} did not end whole, and somebody else deployed since; back means {before}.",
        "Make sure that you would go back to that.",
        "an earlier release did not end whole, and somebody else deployed since; back means what completed last.",
    ),
    # The way back
    "W262": Kind(
        "the image to go back to is gone",
        "no way back: {image}, which {before} runs, is gone from ECR ({code});",
        "push it again first.",
        "no way back: the images that would be gone back to are gone from ECR;",
        "push them again first.",
    ),
    "W263": Kind(
        "goes back by digest",
        "the tag of {image} {now}; a rollback goes back to what ran, {pinned}.",
        NOTHING_TO_DO,
        "their tags do not mean any more what ran; a rollback goes back to the digests that ran.",
    ),
    "W264": Kind(
        "what ran is gone",
        "no way back: {image} ran as {ran}, which is gone from ECR, and its tag means {now} by now;",
        "push what ran again first.",
        "no way back: what ran is gone from ECR, and the tags mean something else by now;",
    ),
    "W265": Kind(
        "the revision to go back to is gone",
        "no way back: {before} {why}, and nothing can be made of it any more.",
        "Release it only if you can do without one.",
        "no way back: the revisions that would be gone back to are gone, or are being deleted.",
        "Release them only if you can do without one.",
    ),
    "W266": Kind(
        "way back not known",
        "nobody has looked whether the way back is still there: {what} {why};",
        "make sure that it is.",
        "nobody has looked whether the way back is still there: no registry was asked, or it can't tell;",
    ),
    "W267": Kind(
        "nothing to put back, or to put it back to",
        "it can't be put back, and the others are put back without it: {why}.",
        "{todo}.",
        "they can't be put back, and the others are put back without them.",
        "Create again what is gone and still wanted, and release it.",
    ),
    "W268": Kind(
        "can't be put back now",
        "it can't be put back now, and is left as it is: {why}{back}.",
        "Mend that and roll back again: what is back by then stays so.",
        "they can't be put back now, and are left as they are.",
    ),
}
