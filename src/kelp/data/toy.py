"""Toy functions to train on and toy tasks to repair, small enough to learn in minutes.

The tasks use the words and idioms of the training functions, but none is a training function with other names (a test
compares normalized syntax trees). Each set of asserts specifies its function fully: both sides of every comparison,
every branch, and argument orders that matter. A search runs the asserts of a task; `HIDDEN` holds further ones, which
judge its repair.
"""

from kelp.data.record import Record


def _toy(kind: str, intent: str, source: str, *asserts: str) -> Record:
    source = source.strip("\n") + "\n"
    name = source[len("def ") : source.index("(")]
    tests = tuple(f"assert {a}" for a in asserts)
    return Record(source, name, intent, asserts=tests, origin=f"toy/{kind}", project="toy")


TRAIN: tuple[Record, ...] = (
    _toy(
        "train",
        "Add two numbers.",
        """
def add(a, b):
    return a + b
""",
        "add(1, 2) == 3",
        "add(0, 7) == 7",
        "add(-4, 1) == -3",
        "add(5, 5) == 10",
    ),
    _toy(
        "train",
        "Subtract b from a.",
        """
def sub(a, b):
    return a - b
""",
        "sub(5, 3) == 2",
        "sub(3, 5) == -2",
        "sub(0, 4) == -4",
        "sub(7, 0) == 7",
    ),
    _toy(
        "train",
        "Multiply two numbers.",
        """
def mul(a, b):
    return a * b
""",
        "mul(2, 3) == 6",
        "mul(-2, 4) == -8",
        "mul(0, 9) == 0",
        "mul(7, 1) == 7",
    ),
    _toy(
        "train",
        "Negate a number.",
        """
def neg(x):
    return -x
""",
        "neg(3) == -3",
        "neg(-8) == 8",
        "neg(0) == 0",
        "neg(1) == -1",
    ),
    _toy(
        "train",
        "Return the absolute value of x.",
        """
def abs_val(x):
    if x < 0:
        return -x
    return x
""",
        "abs_val(4) == 4",
        "abs_val(-4) == 4",
        "abs_val(0) == 0",
        "abs_val(1) == 1",
        "abs_val(-1) == 1",
    ),
    _toy(
        "train",
        "Return the larger of two numbers.",
        """
def max_val(a, b):
    if a > b:
        return a
    return b
""",
        "max_val(1, 2) == 2",
        "max_val(2, 1) == 2",
        "max_val(-3, -5) == -3",
        "max_val(2, 0) == 2",
    ),
    _toy(
        "train",
        "Return the smaller of two numbers.",
        """
def min_val(a, b):
    if a < b:
        return a
    return b
""",
        "min_val(1, 2) == 1",
        "min_val(2, 1) == 1",
        "min_val(-3, -5) == -5",
        "min_val(-1, 0) == -1",
    ),
    _toy(
        "train",
        "Limit x to the range from low to high.",
        """
def clamp(x, low, high):
    if x < low:
        return low
    if x > high:
        return high
    return x
""",
        "clamp(5, 0, 10) == 5",
        "clamp(-5, 0, 10) == 0",
        "clamp(11, 0, 10) == 10",
        "clamp(3, 4, 8) == 4",
        "clamp(2, -3, 0) == 0",
        "clamp(-5, -3, 0) == -3",
    ),
    _toy(
        "train",
        "Multiply x by two.",
        """
def double(x):
    return x * 2
""",
        "double(1) == 2",
        "double(3) == 6",
        "double(-5) == -10",
        "double(0) == 0",
    ),
    _toy(
        "train",
        "Multiply x by itself.",
        """
def square(x):
    return x * x
""",
        "square(3) == 9",
        "square(-4) == 16",
        "square(1) == 1",
        "square(0) == 0",
    ),
    _toy(
        "train",
        "Return the sum of the items.",
        """
def total(items):
    result = 0
    for x in items:
        result += x
    return result
""",
        "total([]) == 0",
        "total([5]) == 5",
        "total([1, 2, 3]) == 6",
        "total([4, -1, 0]) == 3",
        "total([2, 2, 2, 2]) == 8",
    ),
    _toy(
        "train",
        "Count the items that are equal to the target.",
        """
def count_equal(items, target):
    count = 0
    for x in items:
        if x == target:
            count += 1
    return count
""",
        "count_equal([], 1) == 0",
        "count_equal([1, 2, 1], 1) == 2",
        "count_equal([1, 2, 1], 2) == 1",
        "count_equal([3, 4], 1) == 0",
        "count_equal([0, 0, 0], 0) == 3",
    ),
    _toy(
        "train",
        "Return a list of the items that are even.",
        """
def evens(items):
    result = []
    for x in items:
        if x % 2 == 0:
            result.append(x)
    return result
""",
        "evens([]) == []",
        "evens([1, 2, 3, 4]) == [2, 4]",
        "evens([0, 5, -6]) == [0, -6]",
        "evens([7, 9]) == []",
        "evens([8, 8, 2]) == [8, 8, 2]",
    ),
    _toy(
        "train",
        "Return the text in reverse order.",
        """
def reverse_text(text):
    result = ""
    for letter in text:
        result = letter + result
    return result
""",
        "reverse_text('') == ''",
        "reverse_text('ab') == 'ba'",
        "reverse_text('kelp') == 'plek'",
        "reverse_text('a b') == 'b a'",
    ),
    _toy(
        "train",
        "Divide a by b, or return zero if b is zero.",
        """
def safe_div(a, b):
    if b == 0:
        return 0
    return a // b
""",
        "safe_div(6, 3) == 2",
        "safe_div(7, 2) == 3",
        "safe_div(5, 0) == 0",
        "safe_div(0, 4) == 0",
        "safe_div(9, 1) == 9",
        "safe_div(1, 2) == 0",
    ),
)

TASKS: tuple[Record, ...] = (
    _toy(
        "task",
        "Return the absolute value of a minus b.",
        """
def distance(a, b):
    if a < b:
        return b - a
    return a - b
""",
        "distance(5, 3) == 2",
        "distance(3, 4) == 1",
        "distance(-2, 0) == 2",
        "distance(4, -2) == 6",
        "distance(7, 7) == 0",
    ),
    _toy(
        "task",
        "Return the largest of three numbers.",
        """
def max_of_three(a, b, c):
    result = a
    if b > result:
        result = b
    if c > result:
        result = c
    return result
""",
        "max_of_three(1, 2, 3) == 3",
        "max_of_three(0, 1, -1) == 1",
        "max_of_three(3, 2, 1) == 3",
        "max_of_three(3, 1, 2) == 3",
        "max_of_three(0, -2, 4) == 4",
        "max_of_three(-5, -1, -3) == -1",
    ),
    _toy(
        "task",
        "Return the sign of x: one, zero or minus one.",
        """
def sign(x):
    if x < 0:
        return -1
    if x > 0:
        return 1
    return 0
""",
        "sign(5) == 1",
        "sign(-5) == -1",
        "sign(0) == 0",
        "sign(1) == 1",
        "sign(-1) == -1",
    ),
    _toy(
        "task",
        "Return the product of the items.",
        """
def product(items):
    result = 1
    for x in items:
        result *= x
    return result
""",
        "product([]) == 1",
        "product([5]) == 5",
        "product([2, 3, 4]) == 24",
        "product([-2, 3]) == -6",
        "product([7, 0]) == 0",
    ),
    _toy(
        "task",
        "Count the items that are larger than low and smaller than high.",
        """
def count_between(items, low, high):
    count = 0
    for x in items:
        if x > low and x < high:
            count += 1
    return count
""",
        "count_between([], 0, 5) == 0",
        "count_between([1, 2, 3], 0, 5) == 3",
        "count_between([0, 2, 5], 0, 5) == 1",
        "count_between([4, 6, 9], 5, 10) == 2",
        "count_between([-3, 0, 12], -5, 10) == 2",
    ),
    _toy(
        "task",
        "Return a list of the squares of the items.",
        """
def squares(items):
    result = []
    for x in items:
        result.append(x * x)
    return result
""",
        "squares([]) == []",
        "squares([3]) == [9]",
        "squares([1, 2, 4]) == [1, 4, 16]",
        "squares([-5, 0]) == [25, 0]",
    ),
    _toy(
        "task",
        "Return the sum of the items that are odd.",
        """
def sum_odd(items):
    result = 0
    for x in items:
        if x % 2 == 1:
            result += x
    return result
""",
        "sum_odd([]) == 0",
        "sum_odd([1, 2, 3]) == 4",
        "sum_odd([2, 4]) == 0",
        "sum_odd([5, 5, 6]) == 10",
        "sum_odd([7, -2, 0]) == 7",
    ),
    _toy(
        "task",
        "Return the smallest item, or zero if the list of items is empty.",
        """
def smallest(items):
    if items == []:
        return 0
    result = items[0]
    for x in items:
        if x < result:
            result = x
    return result
""",
        "smallest([]) == 0",
        "smallest([4]) == 4",
        "smallest([3, 2, 4]) == 2",
        "smallest([9, 5, 0]) == 0",
        "smallest([2, -6, 7]) == -6",
    ),
    _toy(
        "task",
        "Return the text without the letters that are equal to the target.",
        """
def remove_letter(text, target):
    result = ""
    for letter in text:
        if letter != target:
            result = result + letter
    return result
""",
        "remove_letter('', 'a') == ''",
        "remove_letter('banana', 'a') == 'bnn'",
        "remove_letter('kelp', 'e') == 'klp'",
        "remove_letter('abc', 'x') == 'abc'",
        "remove_letter('zz', 'z') == ''",
    ),
    _toy(
        "task",
        "Return the sum of the items divided by their count, or zero if there are none.",
        """
def average(items):
    count = 0
    result = 0
    for x in items:
        count += 1
        result += x
    if count == 0:
        return 0
    return result // count
""",
        "average([]) == 0",
        "average([4]) == 4",
        "average([1, 2, 6]) == 3",
        "average([5, 10]) == 7",
        "average([-3, 3]) == 0",
    ),
)

# Hidden asserts of each task, without the function name: no search runs them and nothing is trained on them.
HIDDEN = {
    "distance": ["(10, 25) == 15", "(-3, -8) == 5", "(-1, 6) == 7", "(0, 0) == 0", "(100, 1) == 99"],
    "max_of_three": ["(2, 9, 4) == 9", "(4, 4, 4) == 4", "(-7, -2, -9) == -2", "(6, 0, 6) == 6", "(-1, 8, 20) == 20"],
    "sign": ["(12) == 1", "(-40) == -1", "(2) == 1", "(-2) == -1"],
    "product": ["([3, 3, 3]) == 27", "([-1, -6]) == 6", "([2, 0, 5]) == 0", "([1]) == 1", "([-4, 2, -2, 1]) == 16"],
    "count_between": [
        "([5, 6, 7], 5, 7) == 1", "([2, 2, 2], 1, 3) == 3", "([-8, -2, 4, 9], -5, 8) == 2", "([1, 9], 3, 6) == 0",
    ],
    "squares": ["([6, 7]) == [36, 49]", "([-1, 1]) == [1, 1]", "([0]) == [0]", "([10, -3, 2]) == [100, 9, 4]"],
    "sum_odd": ["([9]) == 9", "([-3, 8]) == -3", "([1, 1, 1, 1]) == 4", "([12, 15, 0, 3]) == 18", "([-5, 5]) == 0"],
    "smallest": ["([8, 8]) == 8", "([-1, -4, -2]) == -4", "([12, 11, 10, 13]) == 10", "([1, 2, 3]) == 1", "([0]) == 0"],
    "remove_letter": [
        "('kelp', 'p') == 'kel'", "('aaa', 'b') == 'aaa'", "('noon', 'o') == 'nn'", "('abcabc', 'b') == 'acac'",
    ],
    "average": [
        "([2, 4]) == 3", "([10]) == 10", "([1, 1, 1, 1]) == 1", "([-4, -8]) == -6", "([7, 8, 9]) == 8", "([0, 5]) == 2",
    ],
}  # fmt: skip
