import asyncio
import time


def test_run_in_executor():
    async def main():
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(None, time.sleep, 0.01) for _ in range(4)))
        return "done"

    assert asyncio.run(main()) == "done"
