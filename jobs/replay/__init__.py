"""Replay: the load of a day done again from the archive, and held to what the ledger, the lake and the
partners' folders say. It takes the steps of the night, with a clock that shows the recorded instants.
"""
