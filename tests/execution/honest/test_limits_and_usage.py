import os
import resource


def test_what_is_used():
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(64, soft), hard))
    assert os.cpu_count() >= 1 and os.getloadavg() and os.uname().sysname
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
