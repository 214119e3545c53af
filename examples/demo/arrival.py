"""The file that arrives while the demo runs: the flights of one day."""

from pathlib import Path

from examples.demo.data import EXAMPLES

INBOX = EXAMPLES / "inbox"
MONTH, DAY = 7, 4
FILE = f"flights_2013-{MONTH:02}-{DAY:02}.csv"


def empty_inbox() -> None:
    """Remove what an earlier demo has left there: it would be new to a stack that is."""
    (INBOX / FILE).unlink(missing_ok=True)


def drop_file(data: Path, *, inbox: Path = INBOX) -> Path:
    """Move the flights of the day into the inbox, whole at once, and return where they are."""
    part = inbox / f"{FILE}.part"
    start = f"2013,{MONTH},{DAY},"
    with (data / "flights.csv").open(encoding="utf-8") as flights, part.open("w", encoding="utf-8") as day:
        day.write(next(flights))
        day.writelines(line for line in flights if line.startswith(start))
    return part.replace(inbox / FILE)
