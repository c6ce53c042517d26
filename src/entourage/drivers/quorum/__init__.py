"""The agents of `entourage.quorum` as processes: `agent` at each site and at the witness, `warden` at each site.

The agent speaks with the others over UDP (`wire`: authenticated, numbered) and keeps its `ledger` in a file. The warden
fences (`fencing`) by itself when the time until which it was told that members may run is over: so a site whose agent
is dead or stands still is fenced all the same. A new agent finds the warden of the one before, or starts one.

An agent's control socket takes a JSON object a line and answers with one (`client` asks):

    {"op": "status"}  ->  what `telling.status` gives
    {"op": "take-over", "lost": SITE, "services": [NAME]}
        ->  {"won": TAKEOVER} or {"refused": [SENTENCE]} or {"pending": true}: it goes on asking the others
    {"op": "settled", "lost": SITE, "epoch": N}  ->  {"settled": true}: what was won has been carried out
    anything else  ->  {"error": TEXT}
"""
