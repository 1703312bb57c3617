"""A host's module that cannot be imported: it ends the process."""

import sys

sys.exit("this module is not meant for this process")
