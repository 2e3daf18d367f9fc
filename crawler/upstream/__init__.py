"""What an API's answers mean, and what may be asked of it: statuses, bodies, retries, addresses, robots.txt.

No I/O, no clock.
"""
