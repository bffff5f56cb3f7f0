"""KNOBS: where, when, how much. Settings, partners and the log."""
