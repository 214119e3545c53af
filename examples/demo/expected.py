"""What the demo's runs must have done, from hand-written DuckDB queries over the same CSV files.

Nothing here goes through our own compiler or engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg2

from examples.demo.arrival import DAY, MONTH

Row = tuple[Any, ...]
Counts = Mapping[str, tuple[int | None, int | None]]

TABLES = """
CREATE VIEW flights AS FROM read_csv('{data}/flights.csv', nullstr = 'NA');
CREATE VIEW airlines AS FROM read_csv('{data}/airlines.csv');
CREATE VIEW weather AS FROM read_csv('{data}/weather.csv', nullstr = 'NA');

CREATE TABLE on_time_performance AS
SELECT carrier, name, month, count(*) AS flights, sum((arr_delay <= 15)::INTEGER)::BIGINT AS on_time_flights,
       round(100.0 * sum((arr_delay <= 15)::INTEGER) / count(*), 1) AS on_time_percent,
       round(avg(arr_delay), 2) AS mean_delay_minutes
FROM flights JOIN airlines USING (carrier) WHERE arr_delay IS NOT NULL GROUP BY carrier, name, month;

CREATE TABLE hourly_weather AS FROM weather
QUALIFY row_number() OVER (PARTITION BY origin, year, month, day, hour ORDER BY time_hour) = 1;

CREATE TABLE daily_delays AS
SELECT origin, make_date(year, month, day) AS date, count(*) AS flights,
       sum((dep_delay IS NULL)::INTEGER)::BIGINT AS canceled_flights,
       round(avg(coalesce(dep_delay, 0)), 2) AS mean_delay_minutes,
       sum(coalesce(precip, 0)::DECIMAL(9, 2)) AS precipitation, min(visib) AS least_visibility,
       max(wind_speed) AS strongest_wind
FROM flights LEFT JOIN hourly_weather USING (origin, year, month, day, hour)
GROUP BY origin, date;

CREATE TABLE carrier_ranking AS
SELECT rank() OVER (ORDER BY on_time_percent DESC, carrier) AS position, * FROM (
    SELECT carrier, name, sum(flights)::BIGINT AS flights,
           round(100.0 * sum(on_time_flights) / sum(flights), 1) AS on_time_percent
    FROM on_time_performance GROUP BY carrier, name HAVING sum(flights) >= {minimum_flights});

CREATE TABLE daily_flights AS FROM flights WHERE month = {month} AND day = {day} AND dep_delay IS NOT NULL;

CREATE TABLE daily_delays_by_airport AS
SELECT origin, count(*) AS flights, max(dep_delay) AS longest_delay_minutes FROM daily_flights GROUP BY origin;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Where a result lies, how it is read there, and the hand-written query that says what it must be."""

    place: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    expected: tuple[Row, ...]

    @property
    def right(self) -> bool:
        """Whether both have the same rows in the same order."""
        return self.rows == self.expected


class Expected:
    """The hand-written answers, computed once."""

    def __init__(self, *, data: Path, output: Path, postgres_url: str, minimum_flights: int) -> None:
        self._output = output
        self._postgres_url = postgres_url
        self._database = duckdb.connect()
        self._database.execute(TABLES.format(data=data, minimum_flights=minimum_flights, month=MONTH, day=DAY))

    def counts(self, pipeline_id: str) -> Counts:
        """Return the rows in and out that each node of a pipeline must report."""
        flights, arrived = self._number("flights"), self._number("flights WHERE arr_delay IS NOT NULL")
        airlines, weather, hours = self._number("airlines"), self._number("weather"), self._number("hourly_weather")
        monthly, daily, ranked = (
            self._number("on_time_performance"),
            self._number("daily_delays"),
            self._number("carrier_ranking"),
        )
        of_day = self._number(f"flights WHERE month = {MONTH} AND day = {DAY}")
        departed, airports = self._number("daily_flights"), self._number("daily_delays_by_airport")
        carriers = self._number("(SELECT DISTINCT carrier FROM on_time_performance)")
        return {
            "pl_on_time_performance": {
                "n_flights": (None, flights),
                "n_airlines": (None, airlines),
                "n_arrived": (flights, arrived),
                "n_punctual": (arrived, arrived),
                "n_named": (arrived + airlines, arrived),
                "n_monthly": (arrived, monthly),
                "n_percent": (monthly, monthly),
                "n_sorted": (monthly, monthly),
                "n_postgres": (monthly, None),
                "n_parquet": (monthly, None),
            },
            "pl_weather_and_delays": {
                "n_flights": (None, flights),
                "n_weather": (None, weather),
                "n_hourly": (weather, hours),
                "n_weathered": (flights + hours, flights),
                "n_cleaned": (flights, flights),
                "n_daily": (flights, daily),
                "n_rounded": (daily, daily),
                "n_postgres": (daily, None),
            },
            "pl_carrier_ranking": {
                "n_monthly": (None, monthly),
                "n_carriers": (monthly, carriers),
                "n_large": (carriers, ranked),
                "n_ranked": (ranked, ranked),
                "n_sorted": (ranked, ranked),
                "n_csv": (ranked, None),
                "n_json": (ranked, None),
                "n_duckdb": (ranked, None),
            },
            "pl_daily_flights": {
                "n_flights": (None, of_day),
                "n_departed": (of_day, departed),
                "n_parquet": (departed, None),
            },
            "pl_daily_delays_by_airport": {
                "n_flights": (None, departed),
                "n_airports": (departed, airports),
                "n_sorted": (airports, airports),
                "n_csv": (airports, None),
            },
        }[pipeline_id]

    def results(self, pipeline_id: str) -> tuple[Result, ...]:
        """Return what lies at each destination of a pipeline, beside what must lie there."""
        return {
            "pl_on_time_performance": self._on_time_performance,
            "pl_weather_and_delays": self._weather_and_delays,
            "pl_carrier_ranking": self._carrier_ranking,
            "pl_daily_flights": self._daily_flights,
            "pl_daily_delays_by_airport": self._daily_delays_by_airport,
        }[pipeline_id]()

    def _on_time_performance(self) -> tuple[Result, ...]:
        order, parquet = "carrier, month", self._output / "on_time_performance.parquet"
        return (
            self._in_postgres("flights.on_time_performance", expected="on_time_performance", order=order),
            self._in_file(parquet, reader=f"read_parquet('{parquet}')", expected="on_time_performance", order=order),
        )

    def _weather_and_delays(self) -> tuple[Result, ...]:
        return (self._in_postgres("flights.daily_delays", expected="daily_delays", order="origin, date"),)

    def _carrier_ranking(self) -> tuple[Result, ...]:
        csv, json, database = (self._output / f"carrier_ranking.{ending}" for ending in ("csv", "jsonl", "duckdb"))
        self._database.execute(f"ATTACH IF NOT EXISTS '{database}' AS written (READ_ONLY)")
        try:
            return tuple(
                self._in_file(place, reader=reader, expected="carrier_ranking", order="position")
                for place, reader in (
                    (csv, f"read_csv('{csv}')"),
                    (json, f"read_json('{json}')"),
                    (database, "written.carrier_ranking"),
                )
            )
        finally:
            self._database.execute("DETACH written")

    def _daily_flights(self) -> tuple[Result, ...]:
        order, parquet = "time_hour, carrier, flight", self._output / "daily_flights.parquet"
        return (self._in_file(parquet, reader=f"read_parquet('{parquet}')", expected="daily_flights", order=order),)

    def _daily_delays_by_airport(self) -> tuple[Result, ...]:
        csv = self._output / "daily_delays_by_airport.csv"
        expected = "daily_delays_by_airport"
        return (self._in_file(csv, reader=f"read_csv('{csv}')", expected=expected, order="origin"),)

    def _in_file(self, place: Path, *, reader: str, expected: str, order: str) -> Result:
        query = f"SELECT {', '.join(self._columns(expected))} FROM {reader} ORDER BY {order}"
        return self._result(str(place), rows=self._database.execute(query).fetchall(), expected=expected, order=order)

    def _in_postgres(self, table: str, *, expected: str, order: str) -> Result:
        query = f"SELECT {', '.join(self._columns(expected))} FROM {table} ORDER BY {order}"
        connection = psycopg2.connect(self._postgres_url)
        try:
            with connection.cursor() as cursor:
                cursor.execute(query)
                rows = cursor.fetchall()
        finally:
            connection.close()
        return self._result(f"Postgres table {table}", rows=rows, expected=expected, order=order)

    def _result(self, place: str, *, rows: list[Row], expected: str, order: str) -> Result:
        query = f"FROM {expected} ORDER BY {order}"
        return Result(
            place=place,
            columns=self._columns(expected),
            rows=tuple(rows),
            expected=tuple(self._database.execute(query).fetchall()),
        )

    def _columns(self, table: str) -> tuple[str, ...]:
        return tuple(row[0] for row in self._database.execute(f"DESCRIBE {table}").fetchall())

    def _number(self, source: str) -> int:
        ((number,),) = self._database.execute(f"SELECT count(*) FROM {source}").fetchall()
        return int(number)
