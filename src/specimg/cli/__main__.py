"""``python -m specimg.cli``: the ``specimg`` program where its script is not on the path."""

from specimg.cli import main

main()
