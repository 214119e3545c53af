"""The node types that come with Planasonix, in the order in which docs and listings show them."""

from typing import Any

from planasonix_orchestrator.nodes.base import NodeType
from planasonix_orchestrator.nodes.destinations.csv import CsvDestination
from planasonix_orchestrator.nodes.destinations.duckdb import DuckDBDestination
from planasonix_orchestrator.nodes.destinations.json import JsonDestination
from planasonix_orchestrator.nodes.destinations.parquet import ParquetDestination
from planasonix_orchestrator.nodes.destinations.postgres import PostgresDestination
from planasonix_orchestrator.nodes.sources.csv import CsvSource
from planasonix_orchestrator.nodes.sources.json import JsonSource
from planasonix_orchestrator.nodes.sources.parquet import ParquetSource
from planasonix_orchestrator.nodes.sources.postgres import PostgresSource
from planasonix_orchestrator.nodes.transforms.deduplicate import Deduplicate
from planasonix_orchestrator.nodes.transforms.filter import Filter
from planasonix_orchestrator.nodes.transforms.join import Join
from planasonix_orchestrator.nodes.transforms.sample import Sample
from planasonix_orchestrator.nodes.transforms.select import Select
from planasonix_orchestrator.nodes.transforms.sort import Sort
from planasonix_orchestrator.nodes.transforms.sql import Sql
from planasonix_orchestrator.nodes.transforms.summarize import Summarize
from planasonix_orchestrator.nodes.transforms.trigger_pipeline import TriggerPipeline
from planasonix_orchestrator.nodes.transforms.union import Union

SOURCES: tuple[type[NodeType[Any]], ...] = (CsvSource, ParquetSource, JsonSource, PostgresSource)
TRANSFORMS: tuple[type[NodeType[Any]], ...] = (
    Filter,
    Select,
    Join,
    Union,
    Summarize,
    Sort,
    Deduplicate,
    Sample,
    Sql,
    TriggerPipeline,
)
DESTINATIONS: tuple[type[NodeType[Any]], ...] = (
    ParquetDestination,
    CsvDestination,
    JsonDestination,
    PostgresDestination,
    DuckDBDestination,
)

BUILTIN: tuple[type[NodeType[Any]], ...] = (*SOURCES, *TRANSFORMS, *DESTINATIONS)
