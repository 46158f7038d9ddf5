"""What several load benchmarks use: a recogniser that does nothing, a sender of media, and projects to compare with.

Import this before numpy. The matrix product of a tick is small: spread over threads it costs more and comes late, so
it gets one thread, as under `trunkline serve`.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
