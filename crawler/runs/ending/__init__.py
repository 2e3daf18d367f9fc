"""How a run ends: where an open range does, what the gate says of it, what stops it, why songs failed."""
