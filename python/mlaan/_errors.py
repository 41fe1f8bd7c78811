"""What mlaan raises: exceptions of the compiled part, too."""
from __future__ import annotations


class Error(Exception):
    """What mlaan refuses or cannot do; its text is that of the command, with Python's names for what can be done."""

    __module__ = "mlaan"


class RecipeError(Error):
    """A key of a recipe, or an argument, is unknown or impossible; or no recipe or suite is called so."""

    __module__ = "mlaan"


class DataError(Error):
    """Images that are not there, or not as expected."""

    __module__ = "mlaan"


class MemoryBudgetError(Error):
    """More memory is needed than there is: `planned` bytes, of which `available` are there."""

    __module__ = "mlaan"

    def __init__(self, text: str = "", planned: int = 0, available: int = 0) -> None:
        super().__init__(text)
        #: Bytes that are needed.
        self.planned: int = planned
        #: Bytes that there are.
        self.available: int = available

    def __reduce__(self) -> tuple[type[MemoryBudgetError], tuple[str, int, int]]:
        return MemoryBudgetError, (str(self), self.planned, self.available)
