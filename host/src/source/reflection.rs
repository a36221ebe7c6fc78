//! Descriptors from the server itself, by gRPC's server reflection: version 1, or v1alpha where a
//! server has no other (the gRPC project, `grpc/reflection/v1/reflection.proto`).

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use prost::Message;
use prost_reflect::DescriptorPool;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

use super::answers::{Call, garbled, message};
use super::failure::Failure;
use super::server::Server;

/// Maximum size of an answer, in bytes, and of the number of files.
const MAX_BYTES: usize = 16 << 20;
const MAX_FILES: usize = 1_000;

const VERSIONS: [&str; 2] = ["v1", "v1alpha"];

/// `grpc.reflection.v1.ServerReflectionRequest`, as far as it is used.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, optional, tag = "3")]
    file_by_filename: Option<String>,
    #[prost(string, optional, tag = "4")]
    file_containing_symbol: Option<String>,
    #[prost(string, optional, tag = "7")]
    list_services: Option<String>,
}

/// `grpc.reflection.v1.ServerReflectionResponse`, as far as it is used.
#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "4")]
    files: Option<Files>,
    #[prost(message, optional, tag = "6")]
    services: Option<Services>,
    #[prost(message, optional, tag = "7")]
    error: Option<Refusal>,
}

#[derive(Clone, PartialEq, Message)]
struct Files {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    descriptors: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct Services {
    #[prost(message, repeated, tag = "1")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Refusal {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// All descriptors of the services of a server.
pub(super) async fn descriptors(server: &Server) -> Result<DescriptorPool, Failure> {
    let mut refused = None;
    for version in VERSIONS {
        let list = Request {
            list_services: Some(String::new()),
            ..Request::default()
        };
        match ask(server, version, &list).await {
            Ok(response) => {
                let services = response.services.unwrap_or_default().services;
                return files(server, version, services).await;
            }
            // A server that lacks one version may have the other.
            Err(failure) => refused = Some(failure),
        }
    }
    let failure = refused.unwrap_or_else(|| garbled("no response"));
    Err(failure.or_hint(
        "the server may have no reflection: name its .proto files as `source.proto` instead",
    ))
}

/// The files that declare services, and all that they import.
async fn files(
    server: &Server,
    version: &str,
    services: Vec<Service>,
) -> Result<DescriptorPool, Failure> {
    let (mut known, mut files) = (HashSet::new(), Vec::new());
    let mut wanted: VecDeque<Request> = services
        .into_iter()
        .filter(|service| !service.name.starts_with("grpc.reflection."))
        .map(|service| Request {
            file_containing_symbol: Some(service.name),
            ..Request::default()
        })
        .collect();
    while let Some(request) = wanted.pop_front() {
        if request
            .file_by_filename
            .as_ref()
            .is_some_and(|it| known.contains(it))
        {
            continue;
        }
        let response = ask(server, version, &request).await?;
        for file in response.files.unwrap_or_default().descriptors {
            let file = FileDescriptorProto::decode(file)
                .map_err(|error| garbled(format!("a descriptor cannot be decoded: {error}")))?;
            if !known.insert(file.name().to_owned()) {
                continue;
            }
            wanted.extend(file.dependency.iter().map(|name| Request {
                file_by_filename: Some(name.clone()),
                ..Request::default()
            }));
            files.push(file);
            if files.len() > MAX_FILES {
                return Err(Failure::fatal("its reflection has more than 1,000 files"));
            }
        }
    }
    DescriptorPool::from_file_descriptor_set(FileDescriptorSet { file: files })
        .map_err(|error| garbled(format!("the descriptors do not fit together: {error}")))
}

async fn ask(server: &Server, version: &str, request: &Request) -> Result<Response, Failure> {
    let call = Call {
        path: format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo").into(),
        key: server.key(),
        max_bytes: MAX_BYTES,
        limit: "the size of descriptors",
    };
    let mut answers = server.call(call, request.encode_to_vec().into()).await?;
    let response = server.within("an answer", answers.next(message::<Response>));
    let response = response.await?.ok_or_else(|| garbled("no response"))?;
    match response.error {
        None => Ok(response),
        Some(error) => Err(Failure::fatal(format!(
            "its reflection says {}: {}",
            error.code, error.message
        ))),
    }
}
