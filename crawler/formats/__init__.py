"""How rows become the bytes of a part, and how they come back: JSON lines, CSV, Parquet."""
