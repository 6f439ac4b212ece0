"""What each command does. One module per subject, loaded only when one of its commands runs."""
