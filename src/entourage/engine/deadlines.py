"""How long each step may take before it counts as failed. Seconds; generous where only time is lost."""

from collections.abc import Mapping

from entourage.switch import types as sw

DEADLINE_S: Mapping[type[sw.Command], float] = {
    sw.Prepare: 60,
    sw.PreparePath: 30,
    sw.CheckReady: 10,
    sw.Arm: 10,
    sw.Copy: 900,
    sw.Refresh: 60,
    sw.Repace: 5,
    # From here users wait: better back to the source than long.
    sw.Stop: 2,
    sw.RedirectIngress: 2,
    sw.Drain: 5,
    sw.Disarm: 2,
    sw.RecordCommit: 5,
    sw.Resume: 10,
    sw.FlipIngress: 10,
    sw.Verify: 30,
    sw.CleanUp: 300,
    sw.Undo: 120,
}
RETRY_DELAY_S = 0.5
FLIP_GIVEN_UP_S = 300.0  # then the source's edge goes on sending users to the target's, and the move says so
LOOK_DEADLINE_S = 5.0  # at one copy, before anything is done about it
# How long a member may stand still before its guard runs it again: longer than stop, drain and disarm may take.
GUARD_DEADLINE_S = 10.0

# Each part of an undoing or a cleaning, and how often it is tried before it is left over, and told.
PART_DEADLINE_S = 10
QUIET_DEADLINE_S = 30  # after which late packets at the source are not waited for any longer
PART_TRIES = 3
