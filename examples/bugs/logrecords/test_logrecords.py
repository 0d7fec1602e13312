from logrecords import read_records

LOG = """\
2024-05-01 12:00:00 INFO started
2024-05-01 12:00:07 ERROR cannot save
Traceback (most recent call last):
OSError: disk full
2024-05-01 12:00:09 INFO stopped
"""


def test_an_empty_log():
    assert read_records([]) == []


def test_a_traceback_belongs_to_its_message():
    records = read_records(LOG.splitlines())
    assert records[1].text == "cannot save\nTraceback (most recent call last):\nOSError: disk full"


def test_every_message_is_a_record():
    assert [record.level for record in read_records(LOG.splitlines())] == ["INFO", "ERROR", "INFO"]
