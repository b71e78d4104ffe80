"""What the operator does when it runs: one object, all below a prefix, or one batch, inside one task.

Heavy to import (the SDKs come with the connections): imported by ``execute``, never when a DAG is parsed.
"""
