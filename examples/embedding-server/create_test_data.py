"""Generates the `recruit` dataset: job postings with embeddings, one in forty of them dirty.

The rows equal those of `forebay demo` in Rust, byte for byte: they use only integer arithmetic
on splitmix64, keyed by purpose and row, and words from the lists in
examples/recruit/dataset.json. The faults of dirty rows are described in
examples/recruit/README.md.
"""

import argparse
import hashlib
import json
import pickle
import uuid
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

import rows as wire

WORDS = json.loads((Path(__file__).parent.parent / "recruit" / "dataset.json").read_text("utf-8"))
DIRT = WORDS["dirt"]

# Number of rows generated at a time: limits the memory for their vectors to about 6 MB.
STEP = 1000
# Years beyond this number do not move a vector further.
MAX_YEARS = 20
# Purposes of random words; the numbers are shared with host/src/demo/dataset/hash.rs.
PURPOSES = (
    "key_high key_low region stem company years english keyword spelling title location posted"
    " skills dirt dirty_element noise centre axis"
).split()
GAMMA = np.uint64(0x9E3779B97F4A7C15)


def mix(words):
    """The output function of splitmix64, on an array."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def draw(purpose, indexes):
    """The random words for a purpose at some indexes."""
    number = np.array([PURPOSES.index(purpose) + 1], np.uint64)
    stream = mix(np.uint64(WORDS["seed"]) + number * GAMMA)
    return mix(stream + (indexes.astype(np.uint64) + np.uint64(1)) * GAMMA)


def lanes(seeds, count):
    """Signed 16-bit numbers, `count` for each seed: four from each word of its sequence."""
    places = np.arange(1, -(-count // 4) + 1, dtype=np.uint64)
    words = mix(seeds[:, None] + places * GAMMA)
    return words.astype("<u8").view("<i2")[:, :count].astype(np.int32)


class Recruit:
    """The rows of the dataset, each a dict with `id`, fields and `vector`. Absent values are
    left out."""

    def __init__(self, rows, dimensions, revisions):
        self.rows = rows
        self.dimensions = dimensions
        self.revisions = revisions
        keywords = np.arange(len(WORDS["keywords"]))
        self.centres = lanes(draw("centre", keywords), dimensions)
        self.axis = lanes(draw("axis", np.arange(1)), dimensions) >> 5

    def __iter__(self):
        for start in range(0, self.rows, STEP):
            indexes = list(range(start, min(start + STEP, self.rows)))
            dirt = [kind_of(index, self.revisions) for index in indexes]
            originals = map(original, indexes, dirt)
            yield from map(spoil, self.clean(originals), indexes, dirt)

    def clean(self, indexes):
        """The rows without faults."""
        indexes = np.fromiter(indexes, np.uint64)
        words = {purpose: draw(purpose, indexes) for purpose in PURPOSES}
        years = np.minimum(
            (words["years"] & np.uint64(0xFFFF)) % np.uint64(26),
            (words["years"] >> np.uint64(32)) % np.uint64(26),
        ).astype(np.int32)
        keywords = (words["keyword"] % np.uint64(len(WORDS["keywords"]))).astype(int)
        # The numerators are integers below 2^17: exact in float32 on every platform.
        numerators = self.centres[keywords]
        numerators += np.minimum(years, MAX_YEARS)[:, None] * self.axis
        numerators += lanes(words["noise"], self.dimensions) >> 2
        vectors = numerators.astype("<f4") * np.float32(2**-20)
        words = {purpose: column.tolist() for purpose, column in words.items()}
        for place, vector in enumerate(vectors):
            of_row = {purpose: column[place] for purpose, column in words.items()}
            yield posting(of_row, int(years[place]), vector)


def pick(choices, word):
    return choices[word % len(choices)]


def posting(words, years, vector):
    """One clean row, from its random words."""
    region = pick(WORDS["regions"], words["region"])
    keyword = pick(WORDS["keywords"], words["keyword"])
    stem = pick(region["stems"], words["stem"])
    level = [level["name"] for level in WORDS["levels"] if level["from_years"] <= years][-1]
    title = pick(region["titles"], words["title"])
    english_level = pick(WORDS["english_levels"], words["english"])
    posted = WORDS["posted_from"] + words["posted"] % WORDS["posted_seconds"]
    first, more = words["skills"] & 0xFFFF, (words["skills"] >> 32) % 3
    row = {
        "id": str(uuid.UUID(int=words["key_high"] << 64 | words["key_low"], version=4)),
        "company_name": pick(region["companies"], words["company"]).replace("{stem}", stem),
        "exp_years": years,
        "english_level": english_level,
        "primary_keyword": pick(keyword["spellings"], words["spelling"]),
        "title": title.replace("{level}", level).replace("{keyword}", keyword["name"]),
        "location": pick(region["locations"], words["location"]),
        "posted_at": datetime.fromtimestamp(posted, timezone.utc),
        "skills": [pick(keyword["skills"], first + step) for step in range(2 + more)],
        "vector": vector,
    }
    if english_level is None:
        del row["english_level"]
    return row


def kind_of(index, revisions):
    """The fault of a row, if any. Each block of rows has one dirty row, at a random place that
    is not among the first; the kinds take turns."""
    block, position = divmod(index, DIRT["block_rows"])
    first = DIRT["first_position"]
    if position < first:
        return None
    word = int(draw("dirt", np.array([block]))[0])
    if position != first + word % (DIRT["block_rows"] - first):
        return None
    cycle, place = divmod(block, len(DIRT["cycle"]))
    kind = DIRT["cycle"][place]
    if kind == "row_too_large" and cycle % DIRT["row_too_large_every_cycles"] != 0:
        return "test_posting"
    if kind in ("revised", "revised_later") and not revisions:
        return None
    return kind


def original(index, kind):
    """The row whose content this row has: an earlier one if it is sent again, else itself."""
    if kind == "repeated":
        return index - DIRT["repeated_distance"]
    if kind == "revised":
        return index - DIRT["revised_distance"]
    if kind == "revised_later":
        block = index // DIRT["block_rows"] - DIRT["revised_later_blocks"]
        return block * DIRT["block_rows"]
    return index


def spoil(row, index, kind):
    """Applies a kind of dirt to a clean row."""
    match kind:
        case None | "repeated":
            pass
        case "wrong_dimensions":
            row["vector"] = row["vector"][:-1]
        case "not_a_number" | "infinite":
            word = int(draw("dirty_element", np.array([index]))[0])
            element = np.nan if kind == "not_a_number" else np.inf
            row["vector"][word % len(row["vector"])] = element
        case "embedding_missing":
            del row["vector"]
        case "key_missing":
            del row["id"]
        case "key_invalid":
            row["id"] = f"job-{index}"
        case "row_too_large":
            size = len(row["location"].encode())
            row["location"] *= DIRT["row_too_large_bytes"] // size + 1
        case "years_as_text":
            row["exp_years"] = "five"
        case "undeclared_field":
            row["salary"] = "by agreement"
        case "company_missing":
            del row["company_name"]
        case "company_blank":
            row["company_name"] = "   "
        case "years_negative":
            row["exp_years"] = -3
        case "years_excessive":
            row["exp_years"] = 120
        case "english_unknown":
            row["english_level"] = "??"
        case "nul_in_company":
            row["company_name"] += "\0Ltd"
        case "keyword_too_long":
            row["primary_keyword"] = DIRT["keyword_too_long"]
        case "test_posting":
            row["company_name"] = "[TEST] " + row["company_name"]
            row["title"] = "[TEST] " + row["title"]
        case "revised" | "revised_later":
            row["exp_years"] += 1
        case _:
            raise ValueError(f"dataset.json has a kind of dirt that is not known: {kind}")
    return row


def digest(dataset):
    """SHA-256 of all rows as sent, each after its length as four little-endian bytes."""
    sha256 = hashlib.sha256()
    for row in dataset:
        encoded = wire.encode(row).SerializeToString(deterministic=True)
        sha256.update(len(encoded).to_bytes(4, "little"))
        sha256.update(encoded)
    return sha256.hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--dimensions", type=int, default=1536)
    parser.add_argument("--out", type=Path, default=Path("recruit.pkl"), metavar="FILE.pkl")
    parser.add_argument(
        "--revisions",
        action="store_true",
        help="send a few rows twice with different years, as a source that changes meanwhile does",
    )
    parser.add_argument(
        "--digest",
        action="store_true",
        help="print a digest of the rows, the same as from the generator in Rust; write nothing",
    )
    arguments = parser.parse_args()
    dataset = Recruit(arguments.rows, arguments.dimensions, arguments.revisions)
    if arguments.digest:
        print(digest(dataset))
        return
    with arguments.out.open("wb") as file:
        pickle.dump(list(dataset), file, protocol=pickle.HIGHEST_PROTOCOL)
    print(f"{arguments.out}: {arguments.rows} rows, {arguments.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
