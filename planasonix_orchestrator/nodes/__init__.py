"""The node library: one file per node type, and the catalog that lists them."""
