"""Six nodes over 10 million rows: our plan, the same plan with every node materialised, and one hand-written query."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from benchmarks.frame import Case, Goal, Sides, Site, seconds
from benchmarks.plan_runner import run_plan
from planasonix_orchestrator.compiler.compile import compile_folder
from planasonix_orchestrator.graph.loading import load_files
from planasonix_orchestrator.nodes.catalog import load_catalog

ROWS = 10_000_000
CUSTOMERS = 50_000

DOCUMENT = """\
id: pl_fused
name: fused
nodes:
  - {id: orders, type: source.parquet, config: {path: orders.parquet}}
  - {id: customers, type: source.parquet, config: {path: customers.parquet}}
  - {id: large, type: transform.filter, config: {expression: "amount >= 100 AND status <> 'canceled'"}}
  - id: priced
    type: transform.select
    config:
      columns:
        - {name: customer_id}
        - {name: revenue, expression: "amount * quantity"}
        - {name: discount, expression: "CASE WHEN quantity > 5 THEN amount * 0.1 ELSE 0 END"}
  - {id: located, type: transform.join, config: {keys: [{left: customer_id}]}}
  - id: by_region
    type: transform.summarize
    config:
      groupBy: [region]
      aggregations:
        - {function: count, as: orders}
        - {function: sum, column: revenue, as: revenue}
        - {function: sum, column: discount, as: discount}
  - {id: written, type: destination.parquet, config: {path: ours.parquet}}
edges:
  - {source: orders, target: large}
  - {source: large, target: priced}
  - {source: priced, target: located, targetPort: left}
  - {source: customers, target: located, targetPort: right}
  - {source: located, target: by_region}
  - {source: by_region, target: written}
"""

# {folder} stands for the folder of the case.
CONDITION = "amount >= 100 AND status <> 'canceled'"
QUERY = f"""\
SELECT region, count(*) AS orders, sum(amount * quantity) AS revenue,
       sum(CASE WHEN quantity > 5 THEN amount * 0.1 ELSE 0 END) AS discount
FROM '{{folder}}/orders.parquet' JOIN '{{folder}}/customers.parquet' USING (customer_id)
WHERE {CONDITION}
GROUP BY region"""
FILTERED_COUNT = f"SELECT count(*) FROM '{{folder}}/orders.parquet' WHERE {CONDITION}"


@contextmanager
def build(site: Site) -> Iterator[Sides]:
    """Make the data once, check that our rows and counts are exact, and lend the three sides."""
    folder = site.folder("fused_pipeline")
    make_data(folder)
    document = folder / "fused.yaml"
    document.write_text(DOCUMENT, encoding="utf-8")
    catalog = load_catalog()
    compiled = compile_folder(load_files([document], beside=None), catalog=catalog)
    if compiled.problems:
        raise RuntimeError("\n".join(str(problem) for problem in compiled.problems))
    (plan,) = compiled.plans

    def ours() -> None:
        run_plan(plan, catalog=catalog, connections={}, base=folder)

    def stock() -> None:
        run_plan(plan, catalog=catalog, connections={}, base=folder, materialise="every node")

    def limit() -> None:
        with duckdb.connect() as connection:
            connection.execute(f"COPY ({QUERY}) TO '{{folder}}/limit.parquet'".format(folder=folder))

    results = run_plan(plan, catalog=catalog, connections={}, base=folder)
    limit()
    check({node: (result.rows_in, result.rows_out) for node, result in results.items()}, folder=folder)
    yield Sides(
        ours=lambda: seconds(ours),
        stock=lambda: seconds(stock),
        limit=lambda: seconds(limit),
    )


def make_data(folder: Path) -> None:
    """Write the two Parquet files, unless they are there; the same rows on every machine."""
    with duckdb.connect() as connection:
        for name, select in (
            (
                "orders",
                f"""SELECT i AS order_id, hash(i) % {CUSTOMERS} AS customer_id,
                           (hash(i + 1) % 50000 / 100)::DECIMAL(12, 2) AS amount,
                           (hash(i + 2) % 10 + 1)::INTEGER AS quantity,
                           ['open', 'paid', 'shipped', 'canceled'][(1 + hash(i + 3) % 4)::INTEGER] AS status
                    FROM range({ROWS}) AS numbers(i)""",
            ),
            (
                "customers",
                f"""SELECT i::UBIGINT AS customer_id, 'customer ' || i AS name, 'region ' || hash(i) % 40 AS region
                    FROM range({CUSTOMERS}) AS numbers(i)""",
            ),
        ):
            target, part = folder / f"{name}.parquet", folder / f"{name}.part"
            if not target.exists():
                connection.execute(f"COPY ({select}) TO '{part}' (FORMAT parquet)")
                part.replace(target)


def check(counts: dict[str, tuple[int | None, int | None]], *, folder: Path) -> None:
    """Raise AssertionError unless the per-node counts and the written rows are those of the hand-written query."""
    with duckdb.connect() as connection:
        ((filtered,),) = connection.execute(FILTERED_COUNT.format(folder=folder)).fetchall()
        rows = [
            connection.execute(f"FROM '{folder / name}.parquet' ORDER BY ALL").fetchall() for name in ("ours", "limit")
        ]
    expected = {
        "orders": (None, ROWS),
        "customers": (None, CUSTOMERS),
        "large": (ROWS, filtered),
        "priced": (filtered, filtered),
        "located": (filtered + CUSTOMERS, filtered),
        "by_region": (filtered, len(rows[1])),
        "written": (len(rows[1]), None),
    }
    assert counts == expected, f"counts are {counts}, expected {expected}"
    assert rows[0] == rows[1], f"rows differ: {rows[0][:3]} and {rows[1][:3]}"


FUSED_PIPELINE = Case(
    name="fused_pipeline",
    title="10 million rows through source, filter, select, join, summarize and destination",
    goal=Goal(times_the_limit=2.5),
    build=build,
)
