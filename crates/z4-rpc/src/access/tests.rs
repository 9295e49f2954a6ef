//! The table against the services that are served.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use protobuf::descriptor::FileDescriptorProto;
use z4_proto::generated::{access, admin, collection, health, reflection_v1, reflection_v1alpha};

use super::table::{need_at_front, Method, Need, REFLECTION};

/// The path of every method of a file.
fn paths(file: &FileDescriptorProto) -> Vec<String> {
    let package = file.get_package();
    let services = file.get_service().iter();
    let of = |service: &protobuf::descriptor::ServiceDescriptorProto| {
        let name = format!("{package}.{}", service.get_name());
        let methods = service.get_method().iter();
        methods
            .map(|method| format!("/{name}/{}", method.get_name()))
            .collect::<Vec<_>>()
    };
    services.flat_map(of).collect()
}

#[test]
fn every_method_that_is_served_has_one_entry_and_no_other_has() {
    let files = [
        access::file_descriptor_proto(),
        admin::file_descriptor_proto(),
        collection::file_descriptor_proto(),
        health::file_descriptor_proto(),
        reflection_v1::file_descriptor_proto(),
        reflection_v1alpha::file_descriptor_proto(),
    ];
    let served: BTreeSet<String> = files.into_iter().flat_map(paths).collect();
    let mut judged: BTreeSet<String> = REFLECTION.map(str::to_owned).into();
    for method in Method::ALL {
        assert!(judged.insert(method.path().to_owned()), "{method:?} twice");
    }
    assert_eq!(served, judged);
    assert_eq!(need_at_front("/z4.Collection/NoSuchMethod"), None);
    assert_eq!(need_at_front("/z4.Access/PutPrincipal"), Some(Need::Admin));
}
