"""What the lab tells its user when it cannot do something."""


class LabError(Exception):
    """The lab was not changed as asked, or could not be; the message says what is wrong and what to do next."""
