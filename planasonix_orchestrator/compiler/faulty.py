"""What the compiler's checks add to the problems of a document that could not be loaded whole."""

from collections.abc import Iterable, Iterator, Sequence

from planasonix_orchestrator.errors import Problem


def further_problems(found: Iterable[Problem], *, known: Sequence[Problem]) -> Iterator[Problem]:
    """Yield the problems that do not follow from the known ones of the same file.

    A problem follows from a known one if that stands at its place, or around it. Where edges are faulty, a missing
    input follows from them.
    """
    for problem in found:
        places = [each.path for each in known if each.file == problem.file]
        follows = any(_is_within(problem.path, place) for place in places) or (
            problem.code == "missing_input" and any(_is_within(place, "$.edges") for place in places)
        )
        if not follows:
            yield problem


def _is_within(path: str, place: str) -> bool:
    return place != "$" and (path == place or path.startswith((f"{place}.", f"{place}[")))
