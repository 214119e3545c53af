"""The same questions to a record, asked in four ways: our API, GraphQL, `DagsterInstance`, bare SQL."""

from benchmarks.reading.facts import (
    LineFacts,
    NodeFacts,
    PageQuery,
    Reading,
    RunDetailFacts,
    RunFacts,
    check_equal,
    check_same,
    told_alike,
)
from benchmarks.reading.graphql import GraphQlReader
from benchmarks.reading.instance import InstanceReader
from benchmarks.reading.ours import OurReader
from benchmarks.reading.sql import SqlReader

__all__ = [
    "GraphQlReader",
    "InstanceReader",
    "LineFacts",
    "NodeFacts",
    "OurReader",
    "PageQuery",
    "Reading",
    "RunDetailFacts",
    "RunFacts",
    "SqlReader",
    "check_equal",
    "check_same",
    "told_alike",
]
