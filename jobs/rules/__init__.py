"""Decisions: pure functions that say what is so. They are handed what they need, the time among it."""
