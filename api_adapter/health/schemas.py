"""What the health endpoints answer."""

from pydantic import BaseModel


class Liveness(BaseModel):
    """The process answers."""

    status: str = "ok"


class Readiness(BaseModel):
    """Every part that the service needs, and whether it is there."""

    status: str = "ready"
    checks: dict[str, str]
