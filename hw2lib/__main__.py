"""``python -m hw2lib`` is ``hw2``."""

from hw2lib.cli import main

main()
