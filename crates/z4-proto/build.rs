//! Generates the messages and service stubs from `proto/`.

// A build script that cannot go on stops the build with its reason.
#![allow(clippy::expect_used)]

use std::path::Path;
use std::{env, fs};

fn main() {
    // Both as they are when this runs, not when it was compiled: checkouts that
    // share a target folder share this program, and one of them may be gone.
    println!("cargo:rerun-if-changed=../../proto");
    let package = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let root = Path::new(&package).join("../../proto");
    let root = root.canonicalize().unwrap_or(root);
    let files = [
        "z4/collection.proto",
        "z4/admin.proto",
        "z4/access.proto",
        "z4/peer.proto",
        "z4/log.proto",
        "z4/backup.proto",
        "grpc/health.proto",
        "grpc/reflection_v1.proto",
        "grpc/reflection_v1alpha.proto",
    ]
    .map(|name| root.join(name).display().to_string());
    protobuf_build::Builder::new()
        .files(&files)
        .includes(&[root.display().to_string()])
        .include_google_protos()
        .generate();
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("protos");
    untangle_client_names(&out.join("collection_grpc.rs"));
    feature_gate_stubs(&out);
}

/// The log and its codec stand below storage, which knows no gRPC: the service
/// stubs are compiled with the feature `services` only.
fn feature_gate_stubs(protos: &Path) {
    const GATE: &str = "#[cfg(feature = \"services\")]\n";
    let list = protos.join("mod.rs");
    let text = fs::read_to_string(&list).expect("the generator wrote the list");
    let mut gated = String::new();
    for name in text.split(';').filter_map(|item| item.split("mod ").nth(1)) {
        let name = name.trim();
        if name.ends_with("_grpc") {
            gated.push_str(GATE);
        } else {
            let file = protos.join(name).with_extension("rs");
            let text = fs::read_to_string(&file).expect("the generator wrote the messages");
            let reexport = format!("pub use super::{name}_grpc::");
            let text = text.replace(&reexport, &format!("{GATE}{reexport}"));
            fs::write(&file, text).expect("the messages are writable");
        }
        gated.push_str(&format!("pub mod {name};\n"));
    }
    fs::write(&list, gated).expect("the list is writable");
}

/// The stub generator calls the asynchronous client form of rpc `X` `x_async`,
/// so `CreateTask` and `CreateTaskAsync` clash. The second is renamed to
/// `create_task_accepted` here; names on the wire are not touched.
fn untangle_client_names(stub: &Path) {
    let text = fs::read_to_string(stub).expect("the generator wrote the stub");
    let (name, start) = ("create_task_async", "pub fn create_task_async_opt");
    let end = "pub fn create_task_async_async_opt";
    let second = text.match_indices(start).nth(1).map(|(at, _)| at);
    let second = second.expect("the generator still makes the clash");
    let end = text[second..]
        .find(end)
        .map_or(text.len(), |at| at + second);
    let section = text[second..end].replace(name, "create_task_accepted");
    let renamed = format!("{}{section}{}", &text[..second], &text[end..]);
    fs::write(stub, renamed).expect("the stub is writable");
}
