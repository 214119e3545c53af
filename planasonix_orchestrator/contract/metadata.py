"""Metadata keys under which nodes and the code location report to Dagster, and the API reads them back."""

# On the one output of every op; integers but for CPU_SECONDS. Absent where the node has no such figure.
ROWS_IN = "planasonix/rows_in"
ROWS_OUT = "planasonix/rows_out"
BYTES_READ = "planasonix/bytes_read"  # from outside: file sizes, Arrow bytes of a result set
BYTES_WRITTEN = "planasonix/bytes_written"  # to outside
BYTES_SHUFFLED = "planasonix/bytes_shuffled"  # materialised between nodes
CPU_SECONDS = "planasonix/cpu_seconds"  # float: CPU of the run's process while the node worked
PEAK_MEMORY_BYTES = "planasonix/peak_memory_bytes"  # highest resident set of the run's process while the node worked

# On the failure of an op; text.
ERROR_CODE = "planasonix/error_code"  # one of ERROR_CODES
ERROR_NODE = "planasonix/error_node"  # id of the node at fault, where that is another one than the one that failed

ERROR_CODES = ("node_error", "timeout", "out_of_memory", "worker_lost", "policy")

# On the repository (JSON), published by the code location each time that it loads.
PIPELINES = "planasonix/pipelines"  # list of PublishedPipeline
PROBLEMS = "planasonix/problems"  # list of problems of documents that did not load

# Op config and run resources as they stand in a run's config.
VARIABLES_RESOURCE = "variables"  # run_config["resources"]["variables"]["config"] = {name: value}

REPOSITORY_NAME = "planasonix"
CODE_LOCATION_NAME = "planasonix"
