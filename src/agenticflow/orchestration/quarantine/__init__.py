"""The rules for tasks that kill their process: who is suspected, who is put aside, what a person decides, how it is listed."""
