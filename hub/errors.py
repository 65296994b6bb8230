"""What can go wrong on the way to published weights."""


class PublishedWeightsError(OSError):
    """Published weights cannot be had; the message says what to do."""
