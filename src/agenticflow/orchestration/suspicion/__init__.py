"""What can be true, and asked, of tasks that are suspected of killing their process: data, and no rules."""
