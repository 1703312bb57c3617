"""Reports: what people want to know, read and added up for them. Nothing here writes.

One subject a file, each read bounded and through an index; every face calls these.
"""
