"""Shipped worlds. Each module reads from top to bottom as the story it tells, and ends in `build`."""
