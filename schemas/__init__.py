"""The contracts that every other package reads: votes, tables, configs, reports, manifests, errors. No I/O."""
