"""How long each step may take before it counts as failed. Seconds; generous where only time is lost."""

from collections.abc import Mapping

from entourage.switch import types as sw

DEADLINE_S: Mapping[type[sw.Command], float] = {
    sw.Prepare: 60,
    sw.PreparePath: 30,
    sw.Copy: 900,
    sw.Refresh: 60,
    # From here users wait: better back to the source than long.
    sw.Stop: 2,
    sw.RedirectIngress: 2,
    sw.Drain: 5,
    sw.RecordCommit: 5,
    sw.Resume: 10,
    sw.FlipIngress: 10,
    sw.Verify: 30,
    sw.CleanUp: 300,
    sw.Undo: 120,
}
RETRY_DELAY_S = 0.5

# Each part of an undoing or a cleaning, and how often it is tried before it is left over, and told.
PART_DEADLINE_S = 10
RETIRE_DEADLINE_S = 60  # of the source's ingress, which waits until it is quiet there
PART_TRIES = 3
