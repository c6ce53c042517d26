"""The commands. They read what the user wrote, ask `operations`, and show what came back; nothing is decided here."""
