from pivot import Table, as_csv, pivot

SALES = [
    ("tea", "May", 3), ("cup", "May", 5), ("tea", "June", 2), ("pot", "July", 1), ("tea", "May", 4), ("cup", "July", 6)
]


def test_nothing():
    assert pivot([]) == Table()
    assert pivot([]).total == 0
    assert as_csv(pivot([])) == ",total\ntotal,0\n"


def test_cells():
    assert pivot(SALES).cells == {
        ("tea", "May"): 7, ("cup", "May"): 5, ("tea", "June"): 2, ("pot", "July"): 1, ("cup", "July"): 6
    }


def test_totals_of_rows():
    assert pivot(SALES).row_totals == {"tea": 9, "cup": 11, "pot": 1}


def test_totals_of_columns():
    assert pivot(SALES).column_totals == {"May": 12, "June": 2, "July": 7}


def test_the_total_is_the_same_both_ways():
    table = pivot(SALES)
    assert table.total == 21
    assert sum(table.column_totals.values()) == 21
    assert sum(table.cells.values()) == 21


def test_a_row_and_a_column_may_have_the_same_name():
    table = pivot([("x", "x", 1), ("x", "y", 2), ("y", "x", 4)])
    assert table.row_totals == {"x": 3, "y": 4}
    assert table.column_totals == {"x": 5, "y": 2}


def test_returns_are_negative():
    table = pivot([("tea", "May", 3), ("tea", "May", -3), ("cup", "May", -1)])
    assert table.cells["tea", "May"] == 0
    assert table.column_totals == {"May": -1}


def test_the_csv():
    assert as_csv(pivot(SALES)).splitlines() == [
        ",July,June,May,total",
        "cup,6,0,5,11",
        "pot,1,0,0,1",
        "tea,0,2,7,9",
        "total,7,2,12,21",
    ]
