"""The reward model in the training programs of others: OpenRLHF and verl. Needs aiohttp, and nothing else of ours."""
