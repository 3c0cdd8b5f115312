"""What became of it: the verdict on one service, the status of a release, and what it left unused. Data in, data out."""
