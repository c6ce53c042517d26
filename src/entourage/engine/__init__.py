"""Runs moves: asks the drivers for what the switch commands, and tells the switch what happened."""
