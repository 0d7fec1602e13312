import threading
import time


def test_a_timer_fires():
    fired = threading.Event()
    threading.Timer(0.02, fired.set).start()
    assert fired.wait(10)


def test_sleep():
    began = time.monotonic()
    time.sleep(0.05)
    assert time.monotonic() - began >= 0.05
