"""`python -m entourage.probe CONFIG.json`."""

import sys

from entourage.probe.process import run

sys.exit(run(sys.argv[1:]))
