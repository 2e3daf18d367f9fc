"""The campaign: `python -m simulation --seeds 10000`."""

from simulation.campaign import main

if __name__ == "__main__":
    raise SystemExit(main())
