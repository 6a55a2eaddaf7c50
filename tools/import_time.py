"""Print how long `import fastconv` takes beyond `import numpy`: medians of nine processes each, in turns."""

import statistics
import subprocess
import sys
import time


def seconds(statement: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


times: dict[str, list[float]] = {"import numpy": [], "import fastconv": []}
for _ in range(10):
    for statement, seen in times.items():
        seen.append(seconds(statement))
numpy, fastconv = (statistics.median(seen[1:]) for seen in times.values())
print(f"import numpy {numpy * 1e3:.0f} ms, import fastconv {fastconv * 1e3:.0f} ms")
print(f"{(fastconv - numpy) * 1e3:.0f} ms beyond NumPy")
