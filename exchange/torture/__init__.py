"""Torture: a hub of its own, partners that never rest, everything that can go wrong, and a model of what must be.

`world` is what partners send and what must become of it, `partners` are they, `tormentor` does the harm, `judge`
holds the home to the model, and `rounds` is one round after the other. `meterhub torture` starts it.
"""
