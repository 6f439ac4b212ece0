"""What people do to runs: answer what is asked, and step in."""
