"""A plane as seen: window, dB, colour map, encode."""
