"""What a run costs on many machines, played through as a queue of work units.

    python benches/scale_out.py                          # 100 million questions on 1, 8 and 64 cards
    python benches/scale_out.py --log executor.log …     # how much units differ, from what executors printed

Embed, search and rerank follow each other; in each, an executor takes the next unit when it has done one, as the scheduler
hands them out. Rates are those of one executor. How much the units of a stage differ in time is measured (20,000 real
questions, two executors, BENCHMARKS.md); `--log` takes it from the lines that executors print. At half of the time that the
units take, one executor is killed: its unit is done again by the others.
"""

import argparse
import heapq
import math
import random
import re
from pathlib import Path

# (questions/s, pairs of rows/s, pairs/s) of one executor: what `../shared/notes/scale-out.md` assumes of a card, what one H200 did in
# `../shared/notes/gpu.md` between its stalls, and two CPU cores (BENCHMARKS.md, int8)
RATES = {
    "card, assumed": (200_000, 400e12 / (2 * 384), 50_000),
    "card, measured": (33_000, 99_639**2 / 2 / 2.7, 36_000),
    "2 cores, measured": (1_117, 99_639**2 / 2 / 20, 585),
}
# rows of a unit on cards and on processors
UNITS = {"card": (65_536, 16_384), "2 cores": (4_096, 2_048)}
# standard deviation of a unit's time, of its mean
SPREAD = {"embed": 0.10, "search": 0.37, "rerank": 0.15}
# seconds between two units of an executor: note, scheduler, inputs
BETWEEN = 0.05
# the store reads so many bytes a second for one executor
STORE = 1e9
PAIRS_A_QUESTION = 7.5


def block_rows(rows):
    few = min(max(math.ceil(rows / 8), 1024), 32_768)
    return min(max(few, math.ceil(rows / 128)), 1 << 20)


def stages(kind, questions):
    embed, cells, rerank = RATES[kind]
    texts, pairs = UNITS["card" if kind.startswith("card") else "2 cores"]
    block = block_rows(questions)
    blocks = math.ceil(questions / block)
    # an executor keeps the left block of its last cell
    read = block * 384 * 4 / STORE
    return {
        "embed": (math.ceil(questions / texts), texts / embed),
        "search": (blocks * (blocks + 1) // 2, block * block / cells + read),
        "rerank": (math.ceil(questions * PAIRS_A_QUESTION / pairs), pairs / rerank),
    }


def play(units, mean, spread, executors, kill_at, randomness):
    """Seconds until the last unit is done, until the first executor had nothing left to do, and the work that was lost."""
    free = [(0.0, executor) for executor in range(executors)]
    heapq.heapify(free)
    waiting, lost, first_idle, killed = units, 0.0, None, None
    end = 0.0
    while waiting:
        at, executor = heapq.heappop(free)
        if executor == killed:
            continue
        takes = max(0.1 * mean, randomness.gauss(mean, spread * mean)) + BETWEEN
        if kill_at is not None and at + takes > kill_at and killed is None and executors > 1:
            # this executor dies in the middle of its unit
            killed, lost = executor, kill_at - at
            continue
        waiting -= 1
        end = max(end, at + takes)
        heapq.heappush(free, (at + takes, executor))
    first_idle = min(at for at, executor in free if executor != killed)
    return end, first_idle, lost


def spread_of(logs):
    """Standard deviation of the seconds a row of each stage's units, of their mean."""
    found = {}
    for log in logs:
        for line in Path(log).read_text().splitlines():
            if match := re.match(r"(embed|search|rerank) +([\d,]+) \w+ in ([\d.]+) s", line):
                stage, rows, seconds = match.groups()
                found.setdefault(stage, []).append(float(seconds) / int(rows.replace(",", "")))
    for stage, times in found.items():
        mean = sum(times) / len(times)
        found[stage] = math.sqrt(sum((time - mean) ** 2 for time in times) / len(times)) / mean
    return found


def duration(seconds):
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=float, default=1e8)
    parser.add_argument("--executors", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--rates", choices=RATES, nargs="+", default=["card, assumed", "card, measured"])
    parser.add_argument("--log", nargs="+", default=[], help="what executors printed")
    arguments = parser.parse_args()
    spread = {**SPREAD, **spread_of(arguments.log)}
    print("spread of a unit's time:", ", ".join(f"{stage} {share:.0%}" for stage, share in spread.items()))
    print("| rates | executors | embed | search | rerank | in all | of ideal | skew | lost to a kill |")
    print("|---|---|---|---|---|---|---|---|---|")
    for kind in arguments.rates:
        for executors in arguments.executors:
            randomness = random.Random(1)
            ends, skews, losses, ideals = [], [], [], []
            for stage, (units, mean) in stages(kind, int(arguments.questions)).items():
                ideal = units * mean / executors
                end, first_idle, _ = play(units, mean, spread[stage], executors, None, randomness)
                killed, _, lost = play(units, mean, spread[stage], executors, ideal / 2, randomness)
                ends.append(end)
                ideals.append(ideal)
                skews.append(end - first_idle)
                losses.append((lost, units * mean))
            lost = sum(lost for lost, _ in losses) / sum(work for _, work in losses)
            cells = [duration(end) for end in ends]
            print(
                f"| {kind} | {executors} | {' | '.join(cells)} | {duration(sum(ends))} | {sum(ends) / sum(ideals):.3f} | "
                f"{duration(sum(skews))} | {f'{lost:.4%}' if executors > 1 else '–'} |"
            )


if __name__ == "__main__":
    main()
