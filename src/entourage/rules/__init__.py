"""Rules: what is to be done when something is observed. Pure: a view and a memory in, decisions out."""
