"""Proofs: whether a home holds what its ledger says, one module a kind of thing. They change nothing."""
