import sqlite3
from pathlib import Path


def test_a_database_beside_the_tests():
    path = Path(__file__).with_name("shop-test.db")
    try:
        with sqlite3.connect(path) as database:
            database.execute("create table prices (name text, price int)")
            database.executemany("insert into prices values (?, ?)", [("a", 1), ("b", 2)])
        database.close()
        with sqlite3.connect(path) as database:
            assert database.execute("select sum(price) from prices").fetchone() == (3,)
        database.close()
    finally:
        path.unlink()
