"""Runs one node for real on rows that a test writes down, through the same `run_node` as a pipeline's run."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from hypothesis import settings

from planasonix_orchestrator.engine.connections import Connections
from planasonix_orchestrator.engine.relation import Relation
from planasonix_orchestrator.engine.session import Session
from planasonix_orchestrator.nodes.base import Inputs, NamedRelation, NodeContext, NodeType
from planasonix_orchestrator.nodes.execution import NodeResult, run_node
from planasonix_orchestrator.nodes.pipelines import StartedBefore

_ARROW: Mapping[str, pa.DataType] = {"INTEGER": pa.int32(), "VARCHAR": pa.string()}
Rows = list[tuple[Any, ...]]

# Each example runs queries: fewer of them, and no limit to the time of one, for the machine may be busy.
PROPERTY = settings(max_examples=40, deadline=None)


@dataclass
class Workbench:
    """A run's session in which a test makes tables and runs nodes."""

    session: Session
    connections: Connections
    base: Path
    runs: int = 0

    def table(self, name: str, query: str) -> Relation:
        """Make a relation of the rows of a query."""
        with duckdb.connect() as database:
            return self.session.load(name, database.sql(query).to_arrow_reader())

    def values(self, rows: Sequence[tuple[Any, ...]], *, types: Sequence[str]) -> Relation:
        """Make a relation of rows, with columns `c0`, `c1` ... of these types."""
        self.runs += 1
        arrays = [pa.array([row[place] for row in rows], type=_ARROW[type_]) for place, type_ in enumerate(types)]
        table = pa.table(arrays, names=[f"c{place}" for place in range(len(types))])
        return self.session.load(f"values {self.runs}", table.to_reader())

    def run(
        self,
        node_type: NodeType[Any],
        config: Mapping[str, Any],
        ports: Mapping[str, Sequence[Relation]] | Relation | None = None,
    ) -> NodeResult:
        """Run a node on relations by port (or on one, for the port `input`); its rows are kept if it asks for it."""
        self.runs += 1
        arrived = {"input": [ports]} if isinstance(ports, Relation) else ports or {}
        return run_node(
            node_type,
            config=node_type.config_model.model_validate(dict(config)),
            inputs=Inputs(
                {
                    port: [NamedRelation(name=each.name, relation=each) for each in each_port]
                    for port, each_port in arrived.items()
                }
            ),
            storage="table" if node_type.materialised else "view" if node_type.outputs else "none",
            context=NodeContext(
                node_id=f"n_{self.runs}",
                run_id="run",
                session=self.session,
                connections=self.connections,
                base=self.base,
                log=logging.getLogger("test"),
                pipelines=StartedBefore(),
            ),
        )

    def rows(self, result: NodeResult | Relation) -> Rows:
        """Return the rows in their order; as many as the node said."""
        relation = result if isinstance(result, Relation) else result.relation
        assert relation is not None
        with self.session.cursor() as cursor:
            rows = cursor.execute(relation.select().sql("duckdb")).fetchall()
        if isinstance(result, NodeResult):
            assert len(rows) == result.rows_out
        return rows

    def columns(self, result: NodeResult) -> list[str]:
        """Return the columns as `name TYPE`."""
        assert result.relation is not None
        return [f"{column.name} {column.type}" for column in result.relation.columns]


@contextmanager
def workbench(base: Path, connections: Connections | None = None) -> Iterator[Workbench]:
    """Open a session under the folder and close it at the end."""
    with Session(spill=base / "spill", threads=2) as session:
        yield Workbench(session, connections or Connections({}, environment={}), base)
