"""The seams: what the engine asks of the world, as Protocols that adapters and fakes fulfil."""
