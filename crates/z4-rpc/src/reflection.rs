//! Server reflection, v1 and v1alpha: what the services look like, for tools.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use grpcio::{DuplexSink, RequestStream, RpcContext, RpcStatusCode, WriteFlags};
use protobuf::descriptor::{
    DescriptorProto, FieldDescriptorProto, FieldDescriptorProto_Label,
    FieldDescriptorProto_Type as FieldType, FileDescriptorProto,
};
use protobuf::Message;
use z4_proto::generated::{
    access, admin, collection, health, reflection_v1, reflection_v1_grpc, reflection_v1alpha,
    reflection_v1alpha_grpc,
};

/// The files of the services on the service port, by name and by symbol.
struct Index {
    /// A file and the names of those that it imports.
    files: BTreeMap<String, (Vec<u8>, Vec<String>)>,
    symbols: BTreeMap<String, String>,
    services: Vec<String>,
}

impl Index {
    fn new() -> Self {
        let mut index = Self {
            files: BTreeMap::new(),
            symbols: BTreeMap::new(),
            services: Vec::new(),
        };
        for file in [
            collection::file_descriptor_proto(),
            admin::file_descriptor_proto(),
            access::file_descriptor_proto(),
            health::file_descriptor_proto(),
            reflection_v1::file_descriptor_proto(),
            reflection_v1alpha::file_descriptor_proto(),
            &timestamp_file(),
            &duration_file(),
            &empty_file(),
        ] {
            index.add(file);
        }
        index
    }

    fn add(&mut self, file: &FileDescriptorProto) {
        // Descriptors that were generated serialize.
        let Ok(bytes) = file.write_to_bytes() else {
            return;
        };
        let name = file.get_name().to_owned();
        let package = file.get_package();
        for service in file.get_service() {
            let full = format!("{package}.{}", service.get_name());
            for method in service.get_method() {
                let method = format!("{full}.{}", method.get_name());
                self.symbols.insert(method, name.clone());
            }
            self.services.push(full.clone());
            self.symbols.insert(full, name.clone());
        }
        for message in file.get_message_type() {
            self.add_message(&name, package, message);
        }
        for kind in file.get_enum_type() {
            let full = format!("{package}.{}", kind.get_name());
            self.symbols.insert(full, name.clone());
        }
        let imports = file.get_dependency().to_vec();
        self.files.insert(name, (bytes, imports));
    }

    fn add_message(&mut self, file: &str, scope: &str, message: &DescriptorProto) {
        let full = format!("{scope}.{}", message.get_name());
        for nested in message.get_nested_type() {
            self.add_message(file, &full, nested);
        }
        for kind in message.get_enum_type() {
            let kind = format!("{full}.{}", kind.get_name());
            self.symbols.insert(kind, file.to_owned());
        }
        self.symbols.insert(full, file.to_owned());
    }

    /// A file and all that it imports, itself first.
    fn file(&self, name: &str) -> Option<Vec<Vec<u8>>> {
        self.files.get(name)?;
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        let mut next = vec![name];
        while let Some(name) = next.pop() {
            if !seen.insert(name) {
                continue;
            }
            if let Some((bytes, imports)) = self.files.get(name) {
                found.push(bytes.clone());
                next.extend(imports.iter().map(String::as_str));
            }
        }
        Some(found)
    }
}

/// A file of Google's with one message. The library keeps its own copies to
/// itself; these have the same names, numbers and types.
fn google_file(
    name: &str,
    message: &str,
    fields: &[(&str, i32, FieldType)],
) -> FileDescriptorProto {
    let mut kind = DescriptorProto::default();
    kind.set_name(message.to_owned());
    for (name, number, field_type) in fields {
        let mut field = FieldDescriptorProto::default();
        field.set_name((*name).to_owned());
        field.set_json_name((*name).to_owned());
        field.set_number(*number);
        field.set_field_type(*field_type);
        field.set_label(FieldDescriptorProto_Label::LABEL_OPTIONAL);
        kind.mut_field().push(field);
    }
    let mut file = FileDescriptorProto::default();
    file.set_name(name.to_owned());
    file.set_package("google.protobuf".to_owned());
    file.set_syntax("proto3".to_owned());
    file.mut_message_type().push(kind);
    file
}

const SECONDS_AND_NANOS: [(&str, i32, FieldType); 2] = [
    ("seconds", 1, FieldType::TYPE_INT64),
    ("nanos", 2, FieldType::TYPE_INT32),
];

fn timestamp_file() -> FileDescriptorProto {
    let name = "google/protobuf/timestamp.proto";
    google_file(name, "Timestamp", &SECONDS_AND_NANOS)
}

fn duration_file() -> FileDescriptorProto {
    let name = "google/protobuf/duration.proto";
    google_file(name, "Duration", &SECONDS_AND_NANOS)
}

fn empty_file() -> FileDescriptorProto {
    google_file("google/protobuf/empty.proto", "Empty", &[])
}

/// Reflection on the service port.
#[derive(Clone)]
pub struct ReflectionService {
    index: Arc<Index>,
}

impl Default for ReflectionService {
    fn default() -> Self {
        Self::new()
    }
}

impl ReflectionService {
    /// The service; reads the descriptors once.
    #[must_use]
    pub fn new() -> Self {
        Self {
            index: Arc::new(Index::new()),
        }
    }
}

/// The two versions differ in their package only.
macro_rules! version {
    ($module:ident, $grpc:ident) => {
        impl Index {
            fn $module(
                &self,
                request: $module::ServerReflectionRequest,
            ) -> $module::ServerReflectionResponse {
                use $module::ServerReflectionRequest_oneof_message_request as Ask;
                let mut response = $module::ServerReflectionResponse::default();
                response.set_valid_host(request.get_host().to_owned());
                let files = match &request.message_request {
                    Some(Ask::list_services(_)) => {
                        let list = response.mut_list_services_response();
                        for name in &self.services {
                            let mut service = $module::ServiceResponse::default();
                            service.set_name(name.clone());
                            list.mut_service().push(service);
                        }
                        response.set_original_request(request);
                        return response;
                    }
                    Some(Ask::file_by_filename(name)) => self.file(name),
                    Some(Ask::file_containing_symbol(symbol)) => {
                        let symbol = symbol.trim_start_matches('.');
                        self.symbols.get(symbol).and_then(|file| self.file(file))
                    }
                    _ => None,
                };
                match files {
                    Some(files) => response
                        .mut_file_descriptor_response()
                        .set_file_descriptor_proto(files.into()),
                    None => {
                        let error = response.mut_error_response();
                        error.set_error_code(RpcStatusCode::NOT_FOUND.into());
                        error.set_error_message("no such file, symbol or extension".into());
                    }
                }
                response.set_original_request(request);
                response
            }
        }

        impl $grpc::ServerReflection for ReflectionService {
            fn server_reflection_info(
                &mut self,
                ctx: RpcContext<'_>,
                mut stream: RequestStream<$module::ServerReflectionRequest>,
                mut sink: DuplexSink<$module::ServerReflectionResponse>,
            ) {
                let index = Arc::clone(&self.index);
                ctx.spawn(async move {
                    while let Some(Ok(request)) = stream.next().await {
                        let answer = (index.$module(request), WriteFlags::default());
                        if sink.send(answer).await.is_err() {
                            return;
                        }
                    }
                    // The tool has gone when this fails.
                    let _ = sink.close().await;
                });
            }
        }
    };
}

version!(reflection_v1, reflection_v1_grpc);
version!(reflection_v1alpha, reflection_v1alpha_grpc);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn files(response: &reflection_v1::ServerReflectionResponse) -> Vec<String> {
        let bytes = response.get_file_descriptor_response();
        let parsed = bytes.get_file_descriptor_proto().iter().map(|bytes| {
            let file = FileDescriptorProto::parse_from_bytes(bytes).unwrap();
            file.get_name().to_owned()
        });
        parsed.collect()
    }

    #[test]
    fn services_are_listed_and_every_import_is_found() {
        let index = Index::new();
        for name in [
            "z4.Collection",
            "z4.Admin",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        ] {
            assert!(
                index.services.iter().any(|service| service == name),
                "{name}"
            );
        }
        for (name, (_, imports)) in &index.files {
            for import in imports {
                assert!(index.files.contains_key(import), "{name} imports {import}");
            }
        }
    }

    #[test]
    fn symbols_lead_to_their_files_with_imports() {
        let index = Index::new();
        for symbol in [
            "z4.Collection",
            "z4.Task",
            "z4.Collection.GetTask",
            "z4.Task.MetadataEntry",
        ] {
            let mut request = reflection_v1::ServerReflectionRequest::default();
            request.set_file_containing_symbol(symbol.into());
            let found = files(&index.reflection_v1(request));
            assert_eq!(found[0], "z4/collection.proto", "{symbol}");
            assert!(found.iter().any(|f| f == "google/protobuf/timestamp.proto"));
        }
        let mut request = reflection_v1alpha::ServerReflectionRequest::default();
        request.set_file_by_filename("nope".into());
        assert!(index.reflection_v1alpha(request).has_error_response());
    }
}
