"""report.html of a run: curves, pictures through time, configuration and provenance in one file.

`records` reads what a run wrote of itself, `pictures` makes small ones of its pictures, `panels`
say which charts there are, `chart` draws them, `document` puts the page together, `run_report`
writes it. Nothing that a page shows is loaded from elsewhere.
"""
