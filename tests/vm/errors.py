"""What keeps the machine from being tried."""


class Unavailable(Exception):
    """Something that the machine needs is not here; the message says what."""
