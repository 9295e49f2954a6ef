//! gRPC services, peer transport and client of z4.
