"""A sample embedding server: serves a pickled list of rows to Forebay.

A resume token is `row:` and the index of the next row. The stream is a generator, so that
gRPC makes a chunk only when the client is ready for it.
"""

import argparse
import pickle
import re
import signal
from concurrent import futures
from pathlib import Path

import grpc

import rows
from rows import source_pb2
from forebay.v1 import source_pb2_grpc

DATASET = "recruit"
EMBEDDING = "vector"
FIELDS = {
    "company_name": source_pb2.FIELD_TYPE_TEXT,
    "exp_years": source_pb2.FIELD_TYPE_INTEGER,
    "english_level": source_pb2.FIELD_TYPE_TEXT,
    "primary_keyword": source_pb2.FIELD_TYPE_TEXT,
    "title": source_pb2.FIELD_TYPE_TEXT,
    "location": source_pb2.FIELD_TYPE_TEXT,
    "posted_at": source_pb2.FIELD_TYPE_TIMESTAMP,
    "skills": source_pb2.FIELD_TYPE_TEXTS,
}
# Maximum number of concurrent streams; each occupies a thread.
MAX_STREAMS = 4


class EmbeddingSource(source_pb2_grpc.EmbeddingSourceServiceServicer):
    def __init__(self, data):
        self.data = data
        self.dimensions = most_frequent_dimensions(data)

    def ListDatasets(self, request, context):
        fields = [source_pb2.Field(name=name, type=kind) for name, kind in FIELDS.items()]
        embedding = source_pb2.Embedding(name=EMBEDDING, dimensions=self.dimensions)
        dataset = source_pb2.Dataset(
            name=DATASET,
            fields=fields,
            embeddings=[embedding],
            row_count=len(self.data),
            delivery=source_pb2.DELIVERY_SNAPSHOT,
        )
        return source_pb2.ListDatasetsResponse(datasets=[dataset])

    def StreamChunks(self, request, context):
        if request.dataset != DATASET or request.partition:
            context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"unknown dataset {request.dataset!r} or partition {request.partition!r}",
            )
        if request.max_chunk_rows == 0:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "max_chunk_rows is 0; it must be at least 1"
            )
        start = self.first_row(request.resume_token)
        if start is None:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"{request.resume_token!r} is not a resume token of this server",
            )
        step = request.max_chunk_rows
        for sequence, first in enumerate(range(start, len(self.data), step), start=1):
            end = min(first + step, len(self.data))
            chunk = source_pb2.Chunk(
                rows=[rows.encode(row) for row in self.data[first:end]],
                resume_token=f"row:{end}",
                sequence=sequence,
            )
            yield source_pb2.StreamChunksResponse(chunk=chunk)

    def first_row(self, token):
        """The row index of a token; None if the token is not from this server."""
        if not token:
            return 0
        match = re.fullmatch(r"row:([0-9]{1,18})", token, re.ASCII)
        if match is None or int(match[1]) > len(self.data):
            return None
        return int(match[1])


def most_frequent_dimensions(data):
    """The dimensions of the dataset; some of its vectors have others."""
    lengths = [len(row[EMBEDDING]) for row in data if EMBEDDING in row]
    return max(set(lengths), key=lengths.count)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("recruit.pkl"), metavar="FILE.pkl")
    parser.add_argument("--port", type=int, default=50051, help="0 takes any free port")
    arguments = parser.parse_args()
    if not arguments.data.exists():
        parser.error(f"{arguments.data} does not exist: create it with create_test_data.py")
    # A pickle can run code when it is loaded: load only files you made.
    with arguments.data.open("rb") as file:
        data = pickle.load(file)
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=MAX_STREAMS),
        # A port in use is an error and must not be shared.
        options=[("grpc.so_reuseport", 0)],
    )
    source_pb2_grpc.add_EmbeddingSourceServiceServicer_to_server(EmbeddingSource(data), server)
    port = server.add_insecure_port(f"127.0.0.1:{arguments.port}")
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: server.stop(grace=None))
    print(f"listening on http://127.0.0.1:{port}", flush=True)
    try:
        server.wait_for_termination()
    except KeyboardInterrupt:
        server.stop(grace=None)


if __name__ == "__main__":
    main()
