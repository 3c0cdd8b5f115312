"""Exit statuses of the command."""

DONE = 0
FAILED = 1
INVALID = 2
CHANGES = 3
"""``plan``: there is something to change."""
