"""The steps of a release, one module for each task of the state machine, named as the machine names it."""
