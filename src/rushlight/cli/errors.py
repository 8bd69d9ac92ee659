"""Mistakes on the command line."""


class UsageError(Exception):
    """Something asked for on the command line can't be done; the message says why and what can."""
