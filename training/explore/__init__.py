"""A web page, for this machine alone, to play with a trained network: what explore.py does."""
