"""Servers with protos of their own, which know nothing of whoever calls them.

Arguments: a file of descriptors, and the number of rows.
"""

import sys
import uuid
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

ROWS = int(sys.argv[2])

pool = descriptor_pool.DescriptorPool()
files = {}
with open(sys.argv[1], "rb") as file:
    for it in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
        pool.Add(it)
        files[it.name] = it


def message(name):
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def vector(row, dimensions, salt):
    return [((row * 31 + at * 7 + salt) % 101) / 50 - 1 for at in range(dimensions)]


# Case A: a stream that goes on after the last key.


RowChunk = message("embedding.RowChunk")


def recruit_row(at):
    row = message("embedding.RecruitRow")(
        id=str(uuid.UUID(int=at + 1)),
        company_name=f"Company {at}",
        exp_years=at % 40,
        english_level=["", "basic", "fluent"][at % 3],
        primary_keyword="rust",
        vector=vector(at, 8, 1),
    )
    if at % 97 == 5:
        row.vector.append(1.0)
    if at % 89 == 7:
        row.vector[3] = float("nan")
    if at % 83 == 9:
        row.id = "no uuid"
    return row


def stream_embedding(request, context):
    after = request.last_processed_uuid
    at = uuid.UUID(after).int if after else 0
    while at < ROWS:
        size = min(request.chunk_size, ROWS - at)
        # A key that is no position must not be the last one of a message.
        if (at + size - 1) % 83 == 9:
            size += 1
        yield RowChunk(rows=[recruit_row(it) for it in range(at, at + size)])
        at += size


# Case B: parts of three kinds. Skills come before some of the candidates that have them.


def posting(at):
    return message("market.v2.Posting")(
        id=at,
        title=f"Posting {at}",
        description=f"{at} " * 800,
        tags=["remote", f"tag {at % 5}"][: at % 3],
        title_vector=vector(at, 4, 2),
        text_vector=vector(at, 6, 3),
    )


def candidate(at):
    row = message("market.v2.Candidate")(
        id=at,
        name=f"Candidate {at}" if at % 61 else "",
        level=at % 3,
        contacts={"mail": f"{at}@example.org", "city": "Berlin"},
        profile=vector(at, 5, 4),
        wishes=vector(at, 3, 5),
    )
    if at % 53 == 3:
        row.profile[0] = 1e300
    return row


def skill(at):
    row = message("market.v2.Skill")(candidate_id=at // 3, name=f"skill {at % 3}")
    if at % 2:
        row.years = at % 11
    return row


def parts():
    size = 40
    for at in range(0, ROWS, size):
        numbers = range(at, min(at + size, ROWS))
        yield "skills", "Skills", [skill(it) for it in numbers]
        yield "postings", "Postings", [posting(it) for it in numbers]
        yield "candidates", "Candidates", [candidate(it) for it in numbers]


def export(request, context):
    done = int(request.after or 0)
    for number, (field, name, rows) in enumerate(parts(), 1):
        if number > done:
            rows = message("market.v2." + name)(rows=rows)
            yield message("market.v2.Part")(resume_token=str(number), **{field: rows})


# Case C: pages.


def document(at):
    Document = message("docs.v1.Document")
    row = Document(name=f"doc-{at}", body=f"Body {at}")
    row.meta.lang = ["en", "de"][at % 2]
    if at % 4:
        row.meta.author.value = f"Author {at}"
    row.embedding.values.extend(vector(at, 4, 6))
    row.created.seconds = 1_700_000_000 + at
    row.withdrawn = at % 50 == 49
    return row


def list_documents(request, context):
    if request.tenant != "acme":
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "no such tenant")
    at = int(request.page_token or 0)
    end = min(at + request.page_size, ROWS)
    return message("docs.v1.ListDocumentsResponse")(
        documents=[document(it) for it in range(at, end)],
        next_page_token=str(end) if end < ROWS else "",
    )


# Server reflection.


def reflect(requests, context):
    prefix = "grpc.reflection.v1alpha."
    Response = message(prefix + "ServerReflectionResponse")
    for request in requests:
        response = Response()
        kind = request.WhichOneof("message_request")
        if kind == "list_services":
            for file in files.values():
                for service in file.service:
                    name = f"{file.package}.{service.name}"
                    response.list_services_response.service.add(name=name)
        else:
            name = getattr(request, kind)
            if kind == "file_containing_symbol":
                name = pool.FindFileContainingSymbol(name).name
            found = response.file_descriptor_response.file_descriptor_proto
            found.append(files[name].SerializeToString())
        yield response


def handlers(service, methods):
    def handler(make, function, request):
        return make(
            function,
            request_deserializer=message(request).FromString,
            response_serializer=lambda it: it.SerializeToString(),
        )

    made = {name: handler(*rest) for name, *rest in methods}
    return grpc.method_handlers_generic_handler(service, made)


server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
server.add_generic_rpc_handlers(
    [
        handlers(
            "embedding.EmbeddingStreamService",
            [("StreamEmbedding", stream, stream_embedding, "embedding.StreamEmbeddingRequest")],
        ),
        handlers("market.v2.Market", [("Export", stream, export, "market.v2.ExportRequest")]),
        handlers(
            "docs.v1.Documents",
            [("ListDocuments", unary, list_documents, "docs.v1.ListDocumentsRequest")],
        ),
        handlers(
            "grpc.reflection.v1alpha.ServerReflection",
            [
                (
                    "ServerReflectionInfo",
                    grpc.stream_stream_rpc_method_handler,
                    reflect,
                    "grpc.reflection.v1alpha.ServerReflectionRequest",
                )
            ],
        ),
    ]
)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(f"listening on http://127.0.0.1:{port}", flush=True)
server.wait_for_termination()
