"""Writes postings.parquet: 500 job postings with embeddings that need no model.

    pip install pyarrow==26.0.1
    python examples/data/make.py

An embedding has 64 dimensions: each word of a posting adds to some of them, so that postings
with words in common are near each other.
"""

import hashlib
import math
import pathlib
import random

import pyarrow as pa
import pyarrow.parquet as pq

DIMENSIONS = 64
COMPANIES = "Northwind Helios Fjord Kestrel Lumen Quarry Sable Tundra Vela Wren".split()
ROLES = {
    "backend": "Rust Go PostgreSQL gRPC queues caching services".split(),
    "frontend": "TypeScript React CSS accessibility design browsers".split(),
    "data": "Python Spark warehouses pipelines SQL Parquet".split(),
    "machine learning": "PyTorch embeddings training ranking retrieval GPUs".split(),
    "embedded": "C firmware sensors microcontrollers radio power".split(),
    "platform": "Kubernetes Linux networking observability Terraform".split(),
}
LEVELS = ["junior", "senior", "principal"]


def embedding(text: str) -> list[float]:
    elements = [0.0] * DIMENSIONS
    for word in text.lower().replace(",", " ").replace(".", " ").split():
        digest = hashlib.sha256(word.encode()).digest()
        for at in range(0, 16, 2):
            elements[digest[at] % DIMENSIONS] += 1 if digest[at + 1] % 2 else -1
    length = math.sqrt(sum(it * it for it in elements)) or 1.0
    return [it / length for it in elements]


def posting(number: int, choice: random.Random) -> dict:
    role = choice.choice(list(ROLES))
    level = choice.choice(LEVELS)
    skills = choice.sample(ROLES[role], 3)
    text = f"{level} {role} engineer. You work with {', '.join(skills)}."
    return {
        "id": number,
        "title": f"{level.capitalize()} {role} engineer",
        "company": choice.choice(COMPANIES),
        "text": text,
        "skills": skills,
        "remote": choice.random() < 0.4,
        "salary": choice.choice([None, choice.randrange(40, 160) * 1000]),
        "embedding": embedding(text),
    }


if __name__ == "__main__":
    choice = random.Random(7)
    rows = [posting(number, choice) for number in range(1, 501)]
    schema = pa.schema(
        [
            ("id", pa.int64()),
            ("title", pa.string()),
            ("company", pa.string()),
            ("text", pa.string()),
            ("skills", pa.list_(pa.string())),
            ("remote", pa.bool_()),
            ("salary", pa.int32()),
            ("embedding", pa.list_(pa.float32())),
        ]
    )
    path = pathlib.Path(__file__).with_name("postings.parquet")
    pq.write_table(pa.Table.from_pylist(rows, schema), path, compression="zstd")
