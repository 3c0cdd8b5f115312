"""What would be done: what is live, what a release would change or put back, and how that is shown and approved."""
