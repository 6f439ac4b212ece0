"""Another plan for a run that would fail: who is asked, and how."""
