from pivot import as_csv, pivot


def test_one_sale():
    assert as_csv(pivot([("tea", "May", 3)])) == ",May,total\ntea,3,3\ntotal,3,3\n"


def test_sales_of_a_cell_are_summed():
    assert pivot([("tea", "May", 3), ("tea", "May", 4)]).cells == {("tea", "May"): 7}


def test_totals():
    table = pivot([("tea", "May", 3), ("cup", "May", 5), ("tea", "June", 2)])
    assert table.row_totals == {"tea": 5, "cup": 5}
    assert table.column_totals == {"May": 8, "June": 2}
    assert table.total == 10
