"""What findings of one code have in common."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """What findings of one code have in common: title, sentences, and whether the manifest may ignore them.

    Attributes
    ----------
    title : what it is called in documents, and where there is no room for a sentence.
    said : what was found about one item, with the finding's values in braces. Ends with a full stop, or where ``todo`` goes on in
        the same sentence, with a semicolon.
    todo : what to do about it.
    said_of_several : what was found, of several items whose values differ; None: ``said`` has no values, or they say what matters.
    todo_of_several : None: as for one.
    overridable : ``ignore`` in the manifest turns it into something that is only recorded. None that guards a promise is:
        truth, the way back, what somebody else set.
    """

    title: str
    said: str
    todo: str
    said_of_several: str | None = None
    todo_of_several: str | None = None
    overridable: bool = False

    @property
    def text(self) -> str:
        """The message about one item, with the finding's values in braces."""
        return f"{self.said} {self.todo}"

    @property
    def of_several(self) -> str | None:
        """The message about several items whose values differ; None where that of one does for all."""
        if self.said_of_several is None:
            return None
        return f"{self.said_of_several} {self.todo_of_several or self.todo}"
