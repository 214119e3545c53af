"""Text of strangers as a terminal may show it: nothing in it moves the cursor, changes colours or begins a line."""


def legible(text: str) -> str:
    """Return the text with what is not printable written out as Python does."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
