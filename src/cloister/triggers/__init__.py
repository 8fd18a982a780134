"""What people and events at a forge ask for: tasks by mention, label or assignment, reviews, and what follows them.

`inbox` takes what the forge tells of, `handling` says how that is worked off and how a handler is added.
"""
