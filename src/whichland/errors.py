"""The one error a user can mend."""


class UserError(Exception):
    """Something the user can put right: one line saying what was wrong, where, and what to do.

    The command line prints the message without a traceback and exits with code 2.
    """
