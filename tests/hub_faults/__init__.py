"""Whatever the network and the disk do: the right model or one clear error, and no bad file.

Most tests use the smallest published file, of 2 MB, which has no published hash; some give it one.
"""
