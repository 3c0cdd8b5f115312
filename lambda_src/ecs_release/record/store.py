"""The releases table: the record of every release, its items, and the lock.

One DynamoDB table with the keys ``pk`` and ``sk``:

=====================  ==========================  ================================================
pk                     sk                          what
=====================  ==========================  ================================================
``LOCK``               ``LOCK``                    who may write, and since which epoch
``CONFIG``             ``TARGETS``                 accounts and Regions (written by Terraform)
``RELEASES``           ``<started>#<release>``     index for listing, newest last
``RELEASE#<release>``  ``RELEASE``                 a release
``RELEASE#<release>``  ``ITEM#<batch>#<number>``   its items; a batch is one contiguous key range
``RELEASE#<release>``  ``WORKER#<request>``        a worker that may still be in the middle of a call
``RELEASE#<release>``  ``READ#<number>``           what Parse has read when its time was up, until it is done
``ITEM``               ``<target>#<kind>#<name>``  an item that is not whole: what "back" means for it
``HOLD``               ``<target>#<kind>#<name>``  images that a rollback by hand undid
``UNUSED``             ``<target>#<ARN>``          a revision that a release registered and nothing used
``NOTICE``             ``<what it is about>``      who tells of an event, and that it was told: a release, a run of Deploy
=====================  ==========================  ================================================

Every write to an item carries the epoch its release got with the lock; closing a release by force raises the epoch,
so a worker that has lost the lock can't write any more.
"""

from __future__ import annotations

import json

from ecs_release.aws.clients import Target
from ecs_release.errors import SettingsError
from ecs_release.record.items import Items
from ecs_release.record.lock import Locks
from ecs_release.record.memory import Memory
from ecs_release.record.notices import Notices
from ecs_release.record.releases import Releases
from ecs_release.record.unused import UnusedRevisions


class Store(Locks, Releases, Items, Memory, UnusedRevisions, Notices):
    """The releases table.

    Parameters
    ----------
    client : a low-level DynamoDB client.
    table : the table's name.
    """

    def targets(self) -> dict[str, Target]:
        """Accounts and Regions by name.

        Raises
        ------
        SettingsError
            when Terraform has not written them.
        """
        found = self._get("CONFIG", "TARGETS")
        if found is None:
            raise SettingsError(f"The table {self._table} has no targets. Run terraform apply to the end.")
        return {
            name: Target.from_config(name, config) for name, config in json.loads(found["targets"]).items()
        }
