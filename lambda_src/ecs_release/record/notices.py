"""What people are told of, so that they are told once, however often its event comes and whoever dies meanwhile.

Events come at least once, now and then twice at a time, and Lambda tries one again that it could not finish:
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-delivery-level.html,
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

from __future__ import annotations

import time

from ecs_release.errors import RecordChangedError
from ecs_release.record.table import Table


class Notices(Table):
    """Who tells of something, and whether it was told."""

    def begin_notice(self, about: str, until: float) -> bool:
        """Take it upon oneself to tell of something, until then (epoch seconds); False when people know already.

        Raises
        ------
        RecordChangedError
            when somebody else is about to tell, and has not said yet that it is done.
        """
        key = {"pk": "NOTICE", "sk": about}
        try:
            self._put(
                {**key, "until": int(until) + 1},
                condition="attribute_not_exists(pk) OR (attribute_not_exists(given) AND #until < :now)",
                values={":now": int(time.time())},
                names={"#until": "until"},
            )
        except RecordChangedError:
            if (self._get(**key) or {}).get("given"):
                return False
            raise
        return True

    def notice_was_given(self, about: str) -> bool | None:
        """Whether people were told, as far as it was noted; None where nobody noted that they set out to tell."""
        found = self._get("NOTICE", about)
        return None if found is None else bool(found.get("given"))

    def notice_given(self, about: str) -> None:
        """Say that people were told."""
        self._update({"pk": "NOTICE", "sk": about}, {"given": True}, condition="attribute_exists(pk)")
