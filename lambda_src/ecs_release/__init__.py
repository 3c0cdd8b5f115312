"""ECS Release: one commit releases every Amazon ECS service and scheduled task it names, together."""
