"""What a user can ask for, as functions that return data: the commands and the page only show it."""
