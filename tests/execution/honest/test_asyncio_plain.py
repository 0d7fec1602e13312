import asyncio


async def double(number):
    await asyncio.sleep(0.01)
    return number * 2


def test_gather():
    async def main():
        return await asyncio.gather(*map(double, range(3)))

    assert asyncio.run(main()) == [0, 2, 4]


def test_a_timeout():
    async def main():
        try:
            await asyncio.wait_for(asyncio.sleep(60), 0.01)
        except asyncio.TimeoutError:  # noqa: UP041 (Python 3.9)
            return "late"

    assert asyncio.run(main()) == "late"
