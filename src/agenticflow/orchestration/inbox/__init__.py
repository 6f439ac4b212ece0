"""The inbox: how requests to people come about, are answered, handed on and end, and how they are listed. Pure."""
