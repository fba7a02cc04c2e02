"""The mutation check: every guard is taken away in turn, and the tests must notice.

`tests.mutation.guards` lists the guards, each as a small change of one file that removes it, with the tests that are
there for it.  `python -m tests.mutation` makes the changes, one at a time, in a copy of the tree, runs these tests, and
says which one failed.  The quick test beside this one sees to it that the list stays true to the sources.
"""
