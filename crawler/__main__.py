"""The command line: `python -m crawler COMMAND`, or `songcrawl COMMAND` where the package is installed."""

import sys


def main(program: str) -> int:
    """Run the command line; where a library is not installed, say in a sentence what to do."""
    try:
        from crawler.entrypoints.cli import main as run_command_line

        return run_command_line(program=program)
    except ModuleNotFoundError as error:
        if not _is_library(error.name):
            raise
        print(
            f"songcrawl: {error.name} is not installed in this Python; activate the virtual environment that has it "
            "(. .venv/bin/activate), or install songcrawl with all it needs (pip install .).",
            file=sys.stderr,
        )
        return 1


def songcrawl() -> int:
    """Run the installed command; a SONG_FUNCTION may lie in the working folder, as with `python -m`."""
    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, "")
    return main("songcrawl")


def _is_library(module: str | None) -> bool:
    top = (module or "crawler").partition(".")[0]
    return top != "crawler" and top not in sys.stdlib_module_names


if __name__ == "__main__":
    raise SystemExit(main("python -m crawler"))
