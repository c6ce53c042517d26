"""What the lab tells its user when it cannot do something."""


class LabError(Exception):
    """The lab was not changed as asked, or could not be; the message says what is wrong and what to do next."""


class BusyError(LabError):
    """Another process has what only one may have at a time; it can be had when that one has ended."""
