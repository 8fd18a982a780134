"""The work tree of a sandbox: put to a commit, and its change taken out, without trusting anything in it.

`checkout.py` and `collect.py` are programs, run in a container of the pristine image with only the standard
library and the modules `trusted`, `nested` and `importer` beside them; the other modules run on the host.
"""
