"""The command line: `python -m crawler COMMAND`."""

from crawler.entrypoints.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
