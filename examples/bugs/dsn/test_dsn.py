from dsn import Address, parse_address


def test_all_parts():
    assert parse_address("postgres://ann:pw@db.local:6000/shop?ssl=on") == Address(
        "postgres", "db.local", 6000, "shop", "ann", "pw", {"ssl": "on"}
    )


def test_the_usual_port():
    assert parse_address("mysql://ann@db/shop").port == 3306


def test_a_password_with_a_strange_character():
    assert parse_address("postgres://ann:p@ss@db/shop").password == "p@ss"
