"""The command line: `python -m crawler COMMAND`."""

from crawler.faces.command import main

if __name__ == "__main__":
    raise SystemExit(main())
