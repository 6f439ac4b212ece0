"""Commands with their options and help, by what they are for. Thin like the program: what a command does is loaded when it runs."""
