import asyncio
import sys


def test_a_subprocess_of_asyncio():
    async def main():
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print('hi')", stdout=asyncio.subprocess.PIPE
        )
        return (await child.communicate())[0]

    assert asyncio.run(main()) == b"hi\n"
