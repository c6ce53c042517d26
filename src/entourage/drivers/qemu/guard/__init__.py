"""The guard of one host: a process that runs paused sources again when whoever paused them is gone.

`python -m entourage.drivers.qemu.guard DIRECTORY [COMMAND...]` looks after the QEMUs whose files are in DIRECTORY (see
`entourage.drivers.qemu.process.InstancePaths`), over a monitor of its own for each. It listens at
DIRECTORY/guard.sock, writes what it does to DIRECTORY/guard.jsonl, a JSON line each, and says `ready` when it listens.

A client sends JSON lines and gets one for each, in order:

    {"op": "arm", "members": ["web1", "lb"], "deadline_s": 10}   ->  {"armed": ["lb", "web1"]}
    {"op": "disarm", "members": ["web1", "lb"]}                  ->  {"run_again": ["lb"], "unknown": []}
    {"op": "status"}                                             ->  {"armed": [...]}
    {"op": "end"}                                                ->  {"ended": true}

or {"error": "why not"} to any of them. An armed member that stands still is run again: its copy is given up, and its
CPUs go on. That happens `deadline_s` seconds after it stopped, or at once when the connection that armed it is closed,
which the kernel does for a process however that ends. What was armed over a closed connection and runs is watched a
moment longer, for a `stop` that was still on its way, and then let go; so is a member that was run again.

To arm is all or nothing: after an error none of those members is armed. A later arming replaces an earlier one,
whoever asked for that. When `disarm` is answered nothing is done any more for these members, whoever armed them, and
nothing is under way; `run_again` has those that the guard has begun to run again since they were last armed, and
`unknown` those that it was never armed for. It forgets all when it ends: who armed it sees its connection closed.

Who arms or disarms drives a move, and says `end` when that is over. If its connection is closed before, it died on the
way: COMMAND is started, to bring the move to its end. Its output goes to DIRECTORY/successor.log.
"""
