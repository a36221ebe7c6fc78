"""A sample API server: prints a line for each call that tells it to drop its cache."""

import argparse
import signal
import sys
from concurrent import futures
from pathlib import Path

import grpc

# Generated from /proto, see examples/stubs/README.md.
sys.path.insert(0, str(Path(__file__).parent.parent / "stubs"))
from forebay.v1 import cache_pb2, cache_pb2_grpc  # noqa: E402


class Cache(cache_pb2_grpc.CacheServiceServicer):
    def InvalidateCache(self, request, context):
        print(
            f"invalidated target={request.target} pipeline={request.pipeline}"
            f" changed_rows={request.changed_rows} notification={request.notification_id}",
            flush=True,
        )
        return cache_pb2.InvalidateCacheResponse(
            success=True, message=f"dropped the cache of {request.target}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=50052, help="0 takes any that is free")
    arguments = parser.parse_args()
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=2),
        # A port in use is an error and must not be shared.
        options=[("grpc.so_reuseport", 0)],
    )
    cache_pb2_grpc.add_CacheServiceServicer_to_server(Cache(), server)
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
