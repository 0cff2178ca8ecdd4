"""The reward model over HTTP: protocols (forms of requests and answers), batching (passes), server (routes)."""
