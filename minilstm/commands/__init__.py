"""The commands, one file each: its flags (`add_flags`) and what it does (`run`), which imports the rest when called."""
