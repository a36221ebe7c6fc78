"""A source with the default options of gRPC for Python, slow before its first chunk, and with a
handler that raises an exception before its second one.

Arguments: the seconds before the first chunk.
"""

import sys
import time
from concurrent import futures
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples/stubs"))

import grpc  # noqa: E402
from forebay.v1 import source_pb2, source_pb2_grpc  # noqa: E402

SECONDS = float(sys.argv[1])


class Source(source_pb2_grpc.EmbeddingSourceServiceServicer):
    def ListDatasets(self, request, context):
        embedding = source_pb2.Embedding(name="vector", dimensions=2)
        dataset = source_pb2.Dataset(name="rows", embeddings=[embedding])
        return source_pb2.ListDatasetsResponse(datasets=[dataset])

    def StreamChunks(self, request, context):
        if not request.resume_token:
            time.sleep(SECONDS)
            yield chunk(1)
        raise ZeroDivisionError("division by zero")


def chunk(key):
    vector = source_pb2.Vector(f32=bytes(8))
    row = source_pb2.Row(key=str(key), embeddings={"vector": vector})
    made = source_pb2.Chunk(rows=[row], resume_token=str(key), sequence=1)
    return source_pb2.StreamChunksResponse(chunk=made)


server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
source_pb2_grpc.add_EmbeddingSourceServiceServicer_to_server(Source(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(f"listening on http://127.0.0.1:{port}", flush=True)
server.wait_for_termination()
