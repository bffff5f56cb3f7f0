"""Why packed bytes cannot be unpacked, in our words and not in a library's."""

import re

_WORDS = {
    "-1": "its packed bytes were changed: a block of them is none",
    "-2": "its packed bytes were changed: they name a letter that there is not",
    "-3": "its packed bytes were changed: they point back behind their beginning",
    "-4": "its beginning is not that of a gzip file",
    "-5": "its beginning names a way of packing that gzip has not",
    "-6": "what it unpacks to is not what its own trailer says",
}


def words(error: Exception) -> str:
    """What an error of the unpacking library means; what ends too soon is cut off."""
    number = re.match(r"Error (-\d)\b", str(error))
    if number is not None and number[1] in _WORDS:
        return f"it cannot be unpacked: {_WORDS[number[1]]}"
    return (
        "it is cut off"
        if isinstance(error, EOFError)
        else "it cannot be unpacked: its bytes are no gzip file"
    )
