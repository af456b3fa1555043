"""Speed, measured side by side with a named peer in one run, as a ratio: ``make bench`` or ``ONLY=id make bench``."""
