"""The `meterhub` command: one file a group of commands."""
