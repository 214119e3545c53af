"""The shapes of what is asked of runs, and of the answers. Source: the product's API reference (the seed)."""

from typing import Literal

from api_adapter.runs.schemas import Model, RunId


class CancelAnswer(Model):
    """What becomes of a wish to cancel."""

    id: RunId
    status: Literal["cancel_requested", "canceled"]
    message: str
