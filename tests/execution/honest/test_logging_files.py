import logging
import logging.handlers
import queue


def test_logs_turn(tmp_path):
    handler = logging.handlers.RotatingFileHandler(tmp_path / "log", maxBytes=50, backupCount=2)
    logger = logging.getLogger("shop.test")
    logger.addHandler(handler)
    logger.propagate = False
    for number in range(10):
        logger.warning("message %d", number)
    handler.close()
    assert len(list(tmp_path.iterdir())) == 3


def test_a_listener():
    messages, records = queue.Queue(), []
    handler = logging.Handler()
    handler.emit = records.append
    listener = logging.handlers.QueueListener(messages, handler)
    listener.start()
    messages.put(logging.makeLogRecord({"msg": "x"}))
    listener.stop()
    assert [record.msg for record in records] == ["x"]
