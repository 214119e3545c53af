"""The document model: what a pipeline file may say, how it is loaded, and the rules that hold for any graph."""
