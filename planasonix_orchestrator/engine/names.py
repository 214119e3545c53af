"""Names of tables as users write them, and names as SQL must quote them."""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

_PART = r'(?:"((?:[^"]|"")+)"|([^".]+))'
_NAME = re.compile(rf"(?:{_PART}\.)?{_PART}")


@dataclass(frozen=True, slots=True)
class TableName:
    """A table, in a schema if one is named; both exactly as they are spelled, upper and lower case too."""

    schema: str | None
    name: str

    def __str__(self) -> str:
        return ".".join(part for part in (self.schema, self.name) if part is not None)

    @property
    def sql(self) -> str:
        """The name as it stands in SQL."""
        return ".".join(quote(part) for part in (self.schema, self.name) if part is not None)


def parse_table_name(text: str) -> TableName:
    """Return the table that ``contacts``, ``public.contacts`` or ``"my.schema"."Contacts"`` names, or `ValueError`."""
    match = _NAME.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'{text!r} is not a table name; write table, schema.table or "schema"."table"')
    schema_quoted, schema, name_quoted, name = match.groups()
    return TableName(_plain(schema_quoted, schema), _plain(name_quoted, name) or "")


def quote(name: str) -> str:
    """Return a name in the double quotes of SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text in the single quotes of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _plain(quoted: str | None, bare: str | None) -> str | None:
    return quoted.replace('""', '"') if quoted else bare


def _check(text: str) -> str:
    parse_table_name(text)
    return text


TableNameText = Annotated[str, AfterValidator(_check)]
"""A config field that names a table."""
