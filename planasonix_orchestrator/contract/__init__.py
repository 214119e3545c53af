"""What both packages share: tag and metadata names, id and name encodings. Imports nothing of ours."""
