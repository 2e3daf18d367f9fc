"""What a command gives back to people and scripts: its JSON on standard output, its exit code."""

from __future__ import annotations

import msgspec

from crawler.runs.summary import State

# Exit codes a script can use; argparse itself ends with 2, too.
COMPLETE, FAILED, WRONG, PARTIAL, HELD, INTERRUPTED = 0, 1, 2, 3, 4, 130


def print_json(content: object) -> None:
    """Print a struct as JSON."""
    print(msgspec.json.format(msgspec.json.encode(content), indent=2).decode())


def exit_code(state: State) -> int:
    """Return the exit code that tells a run's state."""
    return {"complete": COMPLETE, "held": HELD}.get(state, PARTIAL)
