"""The compiler's passes: each a pure function from a draft to a draft, one per file."""
