"""How many requests may go out now, given what came of the earlier ones.

One verb has one meaning, in whichever module it stands:

- `ready`: return how many may go out now; where none may, the instant to look again.
- `send`: count requests that go out.
- `observe`: learn from what came of a request, and count it as back. `observe_found` does so for many songs found,
  `observe_success` and `observe_failure` (circuit breaker), `observe_accepted` and `observe_throttled` (request rate)
  for one kind of result.
- `release`: count requests as back that were cut off. They teach nothing.
- `earn` and `spend`: pay into the retry budget, and out of it.
"""
