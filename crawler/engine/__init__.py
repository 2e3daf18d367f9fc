"""The threaded asyncio gather loop: workers, parts, one call on a run. It never imports an adapter."""
