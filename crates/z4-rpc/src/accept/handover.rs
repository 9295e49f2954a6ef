//! A server of gRPC that listens nowhere: connections are accepted elsewhere and handed
//! over, and it does the rest of them, with or without TLS.
//!
//! The C library has this for servers in C++ (`ExternalConnectionAcceptor`): a port whose
//! address begins with `external:` opens no socket, and leaves at a place that the caller
//! names an object that takes connected sockets. grpcio has no call for it, and its own
//! `add_channel_from_fd` speaks no TLS, knows no limit on handshakes, and does not tell
//! whose address a connection comes from. So the place is named in the arguments of the
//! server here, and the object is called by the C++ ABI: it has three virtual functions,
//! the two destructors and `Handle`, in every release of gRPC from 1.27 on. A test here
//! fails where that changes.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void, CStr};
use std::net::TcpStream;
use std::os::fd::IntoRawFd;
use std::ptr::{self, NonNull};

use grpcio::{ChannelBuilder, Server, ServerBuilder, ServerCredentials};
use grpcio_sys::{grpc_arg_pointer_vtable, grpc_arg_type, grpc_byte_buffer, grpc_channel_args};

/// The address of the port that listens nowhere, and the name of the argument that says
/// where its object is left.
const NAME: &CStr = c"external:z4";

/// A server that takes connections one by one.
pub(crate) struct Handover {
    server: Server,
    /// Is the server's, and freed when that shuts down.
    taker: NonNull<Taker>,
}

// SAFETY: the object of gRPC is made to be called from any thread; it has no state of its
// own but a pointer to the listener, which has locks.
unsafe impl Send for Handover {}

/// `grpc_core::TcpServerFdHandler`, as far as it is used here.
#[repr(C)]
struct Taker {
    functions: *const TakerFunctions,
}

/// Its virtual functions in the order of the Itanium C++ ABI.
#[repr(C)]
struct TakerFunctions {
    _destroy: unsafe extern "C" fn(*mut Taker),
    _destroy_and_free: unsafe extern "C" fn(*mut Taker),
    handle: unsafe extern "C" fn(*mut Taker, c_int, c_int, *mut grpc_byte_buffer),
}

/// The place where gRPC leaves the object. It is a pointer that gRPC copies with the
/// arguments, and neither owns nor compares.
static PLACE: grpc_arg_pointer_vtable = grpc_arg_pointer_vtable {
    copy: Some(same),
    destroy: Some(keep),
    cmp: Some(compare),
};

unsafe extern "C" fn same(place: *mut c_void) -> *mut c_void {
    place
}

unsafe extern "C" fn keep(_: *mut c_void) {}

unsafe extern "C" fn compare(one: *mut c_void, other: *mut c_void) -> c_int {
    one.cmp(&other) as c_int
}

impl Handover {
    /// Builds and starts a server with these options.
    ///
    /// # Errors
    /// For a person: gRPC refuses the credentials, or its library has no such port.
    pub(crate) fn start(
        builder: ServerBuilder,
        options: ChannelBuilder,
        credentials: ServerCredentials,
    ) -> Result<Self, String> {
        let mut place: Box<*mut Taker> = Box::new(ptr::null_mut());
        let arguments = options.raw_cfg_int(NAME.to_owned(), 0).build_args();
        // SAFETY: the arguments were just built, and nothing else reads them; grpcio hands the
        // pointer out as const for the sake of its own calls alone. The place outlives the
        // call that fills it in, and is not looked at later.
        unsafe {
            point_at(
                arguments.as_ptr().cast_mut(),
                ptr::from_mut(&mut *place).cast(),
            );
        }
        let builder = builder.channel_args(arguments);
        let mut server = builder.build().map_err(|e| e.to_string())?;
        // The number of this port is 0, which grpcio takes for a failure. What was left at the
        // place tells. The credentials that grpcio drops are counted, and gRPC keeps its own.
        let added = server.add_listening_port(NAME.to_string_lossy(), credentials);
        let Some(taker) = NonNull::new(*place) else {
            let why = added.err().map_or_else(String::new, |e| format!(": {e}"));
            return Err(format!("gRPC takes no connections from outside{why}"));
        };
        server.start();
        Ok(Self { server, taker })
    }

    /// Gives a connection to the server, which does its handshake and closes it. Does not
    /// block.
    pub(crate) fn take(&self, socket: TcpStream) {
        // SAFETY: the object lives until the server is shut down, which needs the server, and
        // `into_server` gives that away with `self`. The descriptor is a connected stream socket, and nobody
        // else has it from here on. There is no listening socket of gRPC, and nothing was read.
        unsafe {
            let handle = (*(*self.taker.as_ptr()).functions).handle;
            handle(
                self.taker.as_ptr(),
                -1,
                socket.into_raw_fd(),
                ptr::null_mut(),
            );
        }
    }

    /// The server, to be shut down: no connection is handed over any more.
    pub(crate) fn into_server(self) -> Server {
        self.server
    }
}

/// Makes the argument [`NAME`], which is there as a number, a pointer to this place.
///
/// # Safety
/// The arguments are valid, and nobody else reads or writes them.
unsafe fn point_at(arguments: *mut grpc_channel_args, place: *mut c_void) {
    // SAFETY: the arguments are valid. Each has a key that ends with a zero byte. A number owns
    // no memory, so that nothing is lost when it is replaced.
    unsafe {
        let all = std::slice::from_raw_parts_mut((*arguments).args, (*arguments).num_args);
        for argument in all {
            if CStr::from_ptr(argument.key) == NAME {
                argument.type_ = grpc_arg_type::GRPC_ARG_POINTER;
                argument.value.pointer.p = place;
                argument.value.pointer.vtable = &PLACE;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::TcpListener;
    use std::sync::Arc;

    use futures::FutureExt;
    use grpcio::{Client, EnvBuilder, Marshaller, Method, MethodType, ServiceBuilder};
    use z4_proto::generated::access::{WhoAmIRequest, WhoAmIResponse};

    use super::*;

    const PEER: Method<WhoAmIRequest, WhoAmIResponse> = Method {
        ty: MethodType::Unary,
        name: "/test/Peer",
        req_mar: Marshaller {
            ser: grpcio::pb_ser,
            de: grpcio::pb_de,
        },
        resp_mar: Marshaller {
            ser: grpcio::pb_ser,
            de: grpcio::pb_de,
        },
    };

    /// The object of the C library is called by its layout in memory. A library with another
    /// one fails here.
    #[test]
    fn a_connection_from_outside_is_served_and_its_address_is_known() {
        let env = Arc::new(EnvBuilder::new().cq_count(1).build());
        let service = ServiceBuilder::new()
            .add_unary_handler(&PEER, |ctx, _, sink| {
                let mut response = WhoAmIResponse::default();
                response.set_principal(ctx.peer());
                ctx.spawn(sink.success(response).map(drop));
            })
            .build();
        let builder = ServerBuilder::new(Arc::clone(&env)).register_service(service);
        let options = ChannelBuilder::new(Arc::clone(&env));
        let insecure = ServerCredentials::insecure();
        let handover = Handover::start(builder, options, insecure).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let channel = ChannelBuilder::new(env).connect(&address);
        let client = Client::new(channel);
        let asked = client.unary_call_async(&PEER, &WhoAmIRequest::default(), Default::default());
        let (socket, from) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        handover.take(socket);
        let said = futures::executor::block_on(asked.unwrap()).unwrap();
        assert_eq!(said.get_principal(), format!("ipv4:{from}"));
        let mut server = handover.into_server();
        futures::executor::block_on(server.shutdown()).unwrap();
    }
}
