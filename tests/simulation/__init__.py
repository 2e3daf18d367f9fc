"""A model of the whole: the real engine in small worlds of virtual time, in which everything goes wrong by the seed.

Several instances of the function work on a bucket that loses acknowledgements and an upstream that fails and
throttles; each may be killed or frozen before and after every operation. Whatever happens, what is stored and
answered must be true (truth.py), also where a queue hands the work to all of them (fleet.py).
`python -m simulation --seeds 10000` runs a campaign.
"""

from simulation.caller import Caller, Wish, make_order
from simulation.campaign import SeedFailed, run_seed
from simulation.threads import Violation
from simulation.visits import Visit
from simulation.weather import Weather
from simulation.world import World

__all__ = [
    "Caller",
    "SeedFailed",
    "Violation",
    "Visit",
    "Weather",
    "Wish",
    "World",
    "make_order",
    "run_seed",
]
