"""What a run gets from outside its pipeline: its environment, its variables."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from api_adapter.control.catalog import Catalog
from api_adapter.control.variables import find_values
from api_adapter.errors import EnvironmentBrokenError, InvalidRequestError
from planasonix_orchestrator.contract.metadata import ENVIRONMENT_KEY, PIPELINE_RESOURCE, VARIABLES_RESOURCE
from planasonix_orchestrator.contract.pipelines import PublishedEnvironment, PublishedPipeline
from planasonix_orchestrator.contract.resolution import EnvironmentUnavailableError, choose_environment


def find_environment(catalog: Catalog, *, named: str | None) -> PublishedEnvironment | None:
    """Return the environment of a run: the one that the caller names, else the default, if there is one.

    `InvalidRequestError` if there is none of that id, `EnvironmentBrokenError` if its part of the file has problems.
    """
    published = catalog.environments
    if published is None:
        return None
    try:
        return choose_environment(published, named=named)
    except EnvironmentUnavailableError as error:
        is_unknown = published["readable"] and error.environment_id not in published["faulty"]
        if is_unknown and named is not None:
            raise InvalidRequestError.of_field("environmentId", str(error)) from error
        raise EnvironmentBrokenError(str(error)) from error


def fill_config(
    preset: Mapping[str, Any],
    *,
    catalog: Catalog,
    pipeline: PublishedPipeline,
    environment: PublishedEnvironment | None,
    variables: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a run's config: what its job brings along, with the value of every variable and the environment's id."""
    values = find_values(
        pipeline["document"].get("variables") or {},
        given=variables,
        environment=environment["variables"] if environment else {},
        global_=catalog.environments["variables"] if catalog.environments else {},
    )
    config = deepcopy(dict(preset))
    if values:
        _resource(config, VARIABLES_RESOURCE).update(values)
    if environment is not None:
        _resource(config, PIPELINE_RESOURCE)[ENVIRONMENT_KEY] = environment["id"]
    return config


def _resource(config: dict[str, Any], name: str) -> dict[str, Any]:
    resource: dict[str, Any] = config.setdefault("resources", {}).setdefault(name, {}).setdefault("config", {})
    return resource
