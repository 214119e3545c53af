"""The code location that workspace.yaml names: the pipelines folder as Dagster's repository `planasonix`.

Nothing is read on import: Dagster calls `planasonix` when it loads the location, and so does each run's process.
"""

from dagster import RepositoryDefinition
from dagster.components.definitions import lazy_repository  # `dagster.definitions` is the same, typed for Definitions

from planasonix_orchestrator.dagster_defs.repository import load_repository
from planasonix_orchestrator.settings import load_settings


@lazy_repository
def planasonix() -> RepositoryDefinition:
    """Return the repository of the folder that PLANASONIX_PIPELINES names."""
    return load_repository(load_settings())
