"""Document and node catalog to a frozen, printable plan, in small pure passes that never import Dagster."""
