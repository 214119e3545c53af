"""Globs: which files count for a trigger."""

import pytest

from planasonix_orchestrator.graph.globs import Selection, check_glob


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        ("*.csv", ["a.csv", "a b.csv", "ä\n.csv"], ["in/a.csv", ".a.csv", "a.csv.tmp", "acsv"]),
        ("**", ["a", "x/a", "x/y/a.b"], [".a", ".x/a", "x/.a"]),
        ("**/*.csv", ["a.csv", "x/a.csv", "x/y/a.csv"], ["a.txt", ".x/a.csv"]),
        ("x/**", ["x/a", "x/y/a"], ["a", "xx/a", "x"]),
        ("x/**/a", ["x/a", "x/y/a", "x/y/z/a"], ["a", "x/ya"]),
        ("x/*/a", ["x/y/a"], ["x/a", "x/y/z/a"]),
        ("a?.csv", ["ab.csv"], ["a.csv", "abc.csv", "a/.csv"]),
        ("[a-c]1", ["a1", "c1"], ["d1", "-1"]),
        ("[!a-c]1", ["d1"], ["a1", "/1"]),
        ("x[+-:]y", ["x,y", "x9y"], ["x/y"]),
        ("[]^]", ["]", "^"], ["a"]),
        ("a[b", ["a[b"], ["ab"]),
        ("a.+(b)", ["a.+(b)"], ["aab"]),
        (".x/*", [".x/a"], [".x/.a", "x/a"]),
        ("**/.done", [".done", "x/.done"], ["done", ".x/.done"]),
        ("a**b", ["ab", "axb"], ["a/b"]),
    ],
)
def test_what_a_glob_names(glob: str, matching: list[str], others: list[str]) -> None:
    """As in a shell: wildcards stay in one part of the path, and leave hidden names alone."""
    selection = Selection(include=[glob], exclude=[])
    assert [path for path in (*matching, *others) if selection.has(path)] == matching


def test_what_is_excluded_does_not_count() -> None:
    """Not even if it is included twice; wildcards of `exclude` know no hidden names."""
    selection = Selection(include=["*.csv", "**/.*", "a.*"], exclude=["a.*", "**/*.tmp"])
    paths = ["a.csv", "b.csv", ".b", ".b.tmp", "x/.c", "x/.c.tmp"]
    assert [path for path in paths if selection.has(path)] == ["b.csv", ".b", "x/.c"]


@pytest.mark.parametrize(
    ("include", "depth", "hidden"),
    [(["*"], 0, False), (["*", "x/*/a"], 2, False), (["*", "**"], None, False), ([".x/*"], 1, True)],
)
def test_how_far_one_has_to_look(include: list[str], depth: int | None, hidden: bool) -> None:
    """No folder needs to be read in which no file can count."""
    selection = Selection(include=include, exclude=[])
    assert (selection.depth, selection.hidden) == (depth, hidden)


@pytest.mark.parametrize("glob", ["/a", "../a", "a/../b", "[z-a]"])
def test_what_is_no_glob(glob: str) -> None:
    """One that leads outside, or whose range runs backwards."""
    with pytest.raises(ValueError, match=r"must be relative|is no glob"):
        check_glob(glob)
