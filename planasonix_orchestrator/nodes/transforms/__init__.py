"""Node types that make one relation out of others, one file each."""
