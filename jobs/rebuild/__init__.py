"""Rebuild: a ledger that was lost is made again from what lies there: archive, lake, and the papers for partners."""
