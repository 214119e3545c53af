"""What a credential may do."""

from enum import StrEnum


class Scope(StrEnum):
    """A right that keys and tokens carry, by its name on the wire."""

    PIPELINES_READ = "pipelines:read"
    PIPELINES_RUN = "pipelines:run"
    PIPELINES_WRITE = "pipelines:write"
    SCHEDULES_READ = "schedules:read"
    SCHEDULES_WRITE = "schedules:write"
    ADMIN_ORGANIZATION = "admin:organization"  # implies all others
