#!/usr/bin/env python3
"""Grows real questions into a corpus of any size, for speed, memory and the recall of an index, never for quality.

    make_corpus.py QUESTIONS.parquet ROWS OUTPUT.parquet

Keeps the first ROWS questions (columns id and text), then adds the head of one question joined to the tail of another,
so that lengths and vocabulary stay those of questions. The same input gives the same file. Needs pandas and pyarrow.
"""

import random
import sys

import pandas as pd


def main(questions, rows, output):
    questions = pd.read_parquet(questions).head(rows)
    ids, texts = questions.id.tolist(), questions.text.tolist()
    words = [text.split() for text in texts]
    drawn, seen, next_id = random.Random(1), set(texts), max(ids) + 1
    while len(texts) < rows:
        head, tail = drawn.choice(words), drawn.choice(words)
        if len(head) < 3 or len(tail) < 3:
            continue
        text = " ".join(head[: drawn.randint(2, len(head) - 1)] + tail[drawn.randint(1, len(tail) - 1) :])
        if text not in seen:
            seen.add(text)
            texts.append(text)
            ids.append(next_id)
            next_id += 1
    corpus = pd.DataFrame({"id": pd.Series(ids, dtype="int64"), "text": texts})
    corpus.to_parquet(output, compression="zstd", index=False)
    print(len(texts), "questions")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
