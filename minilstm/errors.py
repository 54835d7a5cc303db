"""The one exception that stands for a user's mistake."""


class UserError(ValueError):
    """Something the user can mend: its text is one line that says what is wrong and what to do.

    The command line prints that line on standard error and exits with status 2. Any other exception
    is a bug of ours and keeps its traceback.
    """
