"""What both packages must agree on of their own tables, which lie beside Dagster's."""

from typing import Final

SCHEMA: Final = "planasonix"
SCHEMA_LOCK: Final = 0x706C6E78  # "plnx": the advisory lock under which one process at a time makes tables
