"""Writes the files that tests read, with pyarrow and polars as people use them.

    pip install pyarrow==26.0.1 polars==2.1.0 numpy==2.4.6
    python tests/files/make.py
"""

import datetime as dt
import gzip
import json
import math
import pathlib
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent
UTC = dt.timezone.utc


def vector(row: int, dimensions: int = 8) -> list[float]:
    return [round(math.sin(row * 7 + i), 3) for i in range(dimensions)]


def dirty() -> dict:
    """40 rows, of which some cannot go: see `expected` in tests/pipeline/files.rs."""
    rows = [
        {
            "id": f"doc-{row:03}",
            "title": f"Title {row} äöü",
            "lang": ["de", "en", None][row % 3],
            "words": row * 10,
            "score": row / 4,
            "price": Decimal(row) / 100,
            "seen_at": dt.datetime(2026, 11, 28, 9, 30, row, 123456, tzinfo=UTC),
            "day": dt.date(2026, 1, 1) + dt.timedelta(days=row),
            "is_public": row % 2 == 0,
            "tags": ["a", f"t{row}"] if row % 4 else [],
            "meta": {"source": "web", "pages": [row, row + 1], "nested": {"deep": [[0.5], []]}},
            "embedding": vector(row),
        }
        for row in range(40)
    ]
    rows[3]["embedding"] = vector(3, 7)
    rows[5]["embedding"] = None
    rows[8]["embedding"] = vector(8)[:7] + [math.nan]
    rows[13]["embedding"] = vector(13)[:7] + [None]
    rows[21]["id"] = None
    rows[34]["embedding"] = [math.inf] + vector(34)[1:]
    rows[22].update(title=None, lang=None, words=None, score=None, price=None, seen_at=None)
    rows[22].update(day=None, is_public=None, tags=None, meta=None)
    return {name: [row[name] for row in rows] for name in rows[0]}


def by_pyarrow() -> None:
    columns = dirty()
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("title", pa.large_string()),
            ("lang", pa.dictionary(pa.int32(), pa.string())),
            ("words", pa.int32()),
            ("score", pa.float64()),
            ("price", pa.decimal128(10, 2)),
            ("seen_at", pa.timestamp("us", tz="UTC")),
            ("day", pa.date32()),
            ("is_public", pa.bool_()),
            ("tags", pa.list_(pa.string())),
            ("meta", pa.struct([
                ("source", pa.string()),
                ("pages", pa.list_(pa.int64())),
                ("nested", pa.struct([("deep", pa.list_(pa.list_(pa.float32())))])),
            ])),
            ("embedding", pa.list_(pa.float32())),
        ]
    )
    table = pa.table(columns, schema=schema)
    pq.write_table(table, HERE / "pyarrow.parquet", row_group_size=15)
    # As the hubs publish vectors, and in the ways that people choose.
    clean = pa.table({"id": [f"doc-{row:03}" for row in range(20)]})
    elements = np.array([vector(row) for row in range(20)])
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(elements.astype("float32").ravel()), 8)
    halves = pa.FixedSizeListArray.from_arrays(pa.array(elements.astype("float16").ravel()), 8)
    doubles = pa.array(elements.tolist(), pa.large_list(pa.float64()))
    for codec in ["none", "snappy", "zstd", "gzip", "lz4"]:
        kinds = clean.append_column("f32", fixed).append_column("f16", halves)
        kinds = kinds.append_column("f64", doubles)
        pq.write_table(kinds, HERE / f"vectors-{codec}.parquet", compression=codec, row_group_size=8)
    keyed = clean.rename_columns(["doc_id"]).append_column("f32", fixed)
    pq.write_table(keyed, HERE / "keyed.parquet")
    with pa.ipc.new_file(HERE / "vectors.arrow", kinds.schema) as file:
        file.write_table(kinds, max_chunksize=6)
    with pa.ipc.new_stream(HERE / "vectors.arrows", kinds.schema) as file:
        file.write_table(kinds, max_chunksize=6)
    pa.feather.write_feather(kinds, HERE / "vectors.feather", compression="zstd")


def by_polars() -> None:
    columns = dirty()
    columns["seen_at"] = [it and it.replace(tzinfo=None) for it in columns["seen_at"]]
    frame = pl.DataFrame(
        columns,
        schema_overrides={"embedding": pl.List(pl.Float64), "price": pl.Decimal(10, 2)},
    )
    frame.write_parquet(HERE / "polars.parquet", row_group_size=15)


def lines() -> None:
    rows = [
        {"id": row, "title": f"Title {row}", "embedding": vector(row)} for row in range(20)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (HERE / "lines.jsonl").write_text(text)
    (HERE / "lines.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    (HERE / "lines.jsonl.zst").write_bytes(pa.Codec("zstd").compress(text.encode(), asbytes=True))
    np.save(HERE / "rows.npy", np.array([vector(row) for row in range(20)], dtype="float32"))
    np.save(HERE / "halves.npy", np.array([vector(row) for row in range(20)], dtype="float16"))
    np.save(HERE / "doubles.npy", np.array([vector(row) for row in range(20)]))


if __name__ == "__main__":
    import pyarrow.feather

    by_pyarrow()
    by_polars()
    lines()
