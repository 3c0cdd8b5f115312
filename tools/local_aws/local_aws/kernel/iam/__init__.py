"""AWS's policy evaluation as pure functions: policies and a request in, a decision with its reason out."""
