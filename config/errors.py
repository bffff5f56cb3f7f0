"""Errors that are told in words: a code, a message, and a hint of what to do.

Each is for one reader. A partner is told in receipts and in the words of a refusal; these are for the
operator. Anything else that is raised is for a programmer, and shows a traceback.
"""


class MeterhubError(Exception):
    """Something an operator can understand and mend. `code` is kebab-case and stable."""

    exit_code = 1

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(code, message, hint)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class RefusedError(MeterhubError):
    """What was asked for was refused, or something was found wrong: exit code 1."""


class OperatorError(MeterhubError):
    """The hub cannot go on until an operator does something: exit code 3."""

    exit_code = 3


class SettingsError(OperatorError):
    """`config/meterhub.toml` says something that cannot be."""


class PartnerError(OperatorError):
    """A partner's file says something that cannot be, or two of them contradict each other."""
