"""The one error a user can mend, and what to take over from other libraries' errors."""


class UserError(Exception):
    """Something the user can put right: one line saying what was wrong, where, and what to do.

    The command line prints the message without a traceback and exits with code 2.
    """


def first_line(error: Exception) -> str:
    """What an error says, without the advice that stands below; the name of its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
