"""Many questions at once: the server puts into batches what waits at the same moment.

Run it beside ``penstock serve models``, with models by ``penstock init models``:
``python examples/async_client.py http://127.0.0.1:8000``
"""

import asyncio
import sys
from collections import Counter

import numpy as np

from penstock import AsyncClient

AT_ONCE = 100


async def main(url: str) -> None:
    """Ask about each image by itself, all at the same time."""
    images = np.random.default_rng(0).integers(0, 17, (AT_ONCE, 1, 64)).astype(np.float32)
    async with AsyncClient(url) as client:
        timed = {"timing": True}
        asked = [client.infer("digits-mlp", {"image": image}, parameters=timed) for image in images]
        answers = await asyncio.gather(*asked)
    print("answers by the rows of the batch that carried them:")
    for rows, count in sorted(Counter(answer.timing.batch for answer in answers if answer.timing).items()):
        print(f"  {rows:>3} rows  {count:>3} answers")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"))
