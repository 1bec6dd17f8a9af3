"""The command line: `pctr` and `pyrust-ctr`. Presentation only; the work is done by the engine."""
