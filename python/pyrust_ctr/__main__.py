"""`python -m pyrust_ctr` is `pctr`."""

from __future__ import annotations

from pyrust_ctr.cli.app import main

if __name__ == "__main__":
    main()
