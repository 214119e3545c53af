"""What is not shown of a run's variables, wherever they are told."""

import re
from typing import Any

MASK = "***"
# Variables are no place for secrets, and pipelines declare none; what is put there all the same is not repeated.
_SECRET = re.compile(r"pass(word|wd|phrase)?$|secret|token|credential|(api|access|private)_?key", re.IGNORECASE)


def masked(name: str, value: Any) -> Any:
    """Return a variable's value, or the mask if the name says that it is a secret."""
    return MASK if _SECRET.search(name) and value is not None else value
