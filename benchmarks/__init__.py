"""Measurements that anyone can repeat; each module is run with `python -m`."""
