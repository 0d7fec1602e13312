import sqlite3
import threading


def test_two_connections(tmp_path):
    path = tmp_path / "x.db"
    database = sqlite3.connect(path)
    database.execute("pragma journal_mode = wal")
    database.execute("create table t (x)")

    def insert():
        with sqlite3.connect(path, timeout=20) as other:
            other.execute("insert into t values (1)")
        other.close()

    threads = [threading.Thread(target=insert) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.execute("select count(*) from t").fetchone() == (3,)
    database.close()
