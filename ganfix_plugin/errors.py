"""The one base of every error that ganfix raises on purpose, and of its warnings."""

from __future__ import annotations


class GanfixError(Exception):
    """A mistake the user can mend.

    Its message is one line that says what is wrong, where, what was found against what was
    expected, and what to do. The command line and both doors print it after ``Error: `` and leave
    with a non-zero status; any other exception is a bug, of the host's or ours, and keeps its
    traceback.
    """

    def __init__(self, message: str) -> None:
        # What is quoted in it, from files and command lines, may hold anything.
        super().__init__("".join(sign if sign.isprintable() else " " for sign in message))


def first_line(error: BaseException) -> str:
    """What an error says first; the name of its type if it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


class GanfixWarning(UserWarning):
    """Something that was asked for and will be done, but hardly as it was meant."""
