//! The messages of each release are there still, with the same numbers and types.
//!
//! `proto/released/` has a file for each release, with a line for each field, value and
//! method. A line may be added with time, and none may go. `Z4_WRITE_SURFACE=FILE` writes the
//! lines of this source into a file, for the next release.

use std::collections::BTreeSet;
use std::path::Path;

use protobuf::descriptor::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};

use crate::generated::{admin, backup, collection, log, peer};

fn surface() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for file in [
        collection::file_descriptor_proto(),
        admin::file_descriptor_proto(),
        peer::file_descriptor_proto(),
        log::file_descriptor_proto(),
        backup::file_descriptor_proto(),
    ] {
        add_file(file, &mut lines);
    }
    lines
}

fn add_file(file: &FileDescriptorProto, lines: &mut BTreeSet<String>) {
    let package = file.get_package();
    for message in file.get_message_type() {
        add_message(package, message, lines);
    }
    for kind in file.get_enum_type() {
        add_enum(package, kind, lines);
    }
    for service in file.get_service() {
        for method in service.get_method() {
            let streams = |is: bool| if is { "stream " } else { "" };
            lines.insert(format!(
                "rpc {package}.{}.{} ({}{}) returns ({}{})",
                service.get_name(),
                method.get_name(),
                streams(method.get_client_streaming()),
                method.get_input_type(),
                streams(method.get_server_streaming()),
                method.get_output_type(),
            ));
        }
    }
}

fn add_message(scope: &str, message: &DescriptorProto, lines: &mut BTreeSet<String>) {
    let scope = format!("{scope}.{}", message.get_name());
    for field in message.get_field() {
        let oneof = match field.has_oneof_index() {
            true => message.get_oneof_decl()[field.get_oneof_index() as usize].get_name(),
            false => "-",
        };
        lines.insert(format!(
            "field {scope} {} {} {:?} {:?} {} {oneof}",
            field.get_number(),
            field.get_name(),
            field.get_label(),
            field.get_field_type(),
            match field.get_type_name() {
                "" => "-",
                name => name,
            },
        ));
    }
    for nested in message.get_nested_type() {
        add_message(&scope, nested, lines);
    }
    for kind in message.get_enum_type() {
        add_enum(&scope, kind, lines);
    }
}

fn add_enum(scope: &str, kind: &EnumDescriptorProto, lines: &mut BTreeSet<String>) {
    let scope = format!("{scope}.{}", kind.get_name());
    for value in kind.get_value() {
        let (number, name) = (value.get_number(), value.get_name());
        lines.insert(format!("value {scope} {number} {name}"));
    }
}

#[test]
fn what_was_released_is_there_still() {
    let now = surface();
    if let Some(path) = std::env::var_os("Z4_WRITE_SURFACE") {
        let text: String = now.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(path, text).unwrap();
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/released");
    let mut releases = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let lost: Vec<&str> = text.lines().filter(|line| !now.contains(*line)).collect();
        assert!(lost.is_empty(), "{} has {lost:#?}", path.display());
        releases += 1;
    }
    assert!(releases > 0);
}
