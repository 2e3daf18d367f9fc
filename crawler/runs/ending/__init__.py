"""How a run ends: where an open range does, what the gate says when all parts are there, what stops it."""
