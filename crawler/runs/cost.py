"""What a run costs: list prices of request-billed Cloud Run functions and Standard storage, tier 1, US dollars.

Sources: https://cloud.google.com/run/pricing, https://cloud.google.com/storage/pricing. Free tiers are left out, and
so is network traffic: what a function receives is free.
"""

from __future__ import annotations

USD_PER_VCPU_SECOND = 0.000024
USD_PER_GIB_SECOND = 0.0000025
USD_PER_REQUEST = 0.40 / 1_000_000
USD_PER_CREATE = 0.005 / 1000  # class A operations: create, list
USD_PER_READ = 0.0004 / 1000  # class B operations: get

# The instance that deploy.sh asks for.
VCPUS = 1.0
GIB = 0.5

# What a plan reckons with where the deployment sets no ceiling: the default of 100 in flight at an upstream that takes
# 100 ms, less a tenth for starting and ending.
ASSUMED_PER_SECOND = 900.0


def cost_usd(instance_seconds: float, parts: int, vcpus: float = VCPUS, gib: float = GIB) -> float:
    """Give the price of so many seconds of an instance and so many parts, each created once and looked up once."""
    seconds = instance_seconds * (vcpus * USD_PER_VCPU_SECOND + gib * USD_PER_GIB_SECOND)
    return seconds + parts * (USD_PER_CREATE + USD_PER_READ) + USD_PER_REQUEST
