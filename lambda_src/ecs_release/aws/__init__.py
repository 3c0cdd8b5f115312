"""AWS: the calls a release makes, and what their answers say.

One class for each kind of resource, with one method for each need; nothing here knows what a release is.
"""
