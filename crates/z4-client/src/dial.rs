//! Channels to peers, and the stubs of the services on them.

use std::ffi::CString;
use std::sync::Arc;

use grpcio::{Channel, ChannelBuilder, EnvBuilder, Environment};
use z4_proto::admin_grpc::AdminClient;
use z4_proto::collection_grpc::CollectionClient;

use crate::limits;

/// The peer of one of the addresses, as one channel reaches it.
pub(crate) struct Peer {
    /// Its place among the addresses.
    pub place: usize,
    pub channel: Channel,
    pub collection: CollectionClient,
    pub admin: AdminClient,
}

/// What all channels are made of.
pub(crate) struct Dialler {
    env: Arc<Environment>,
}

impl Dialler {
    pub(crate) fn new() -> Self {
        let env = EnvBuilder::new().cq_count(1).name_prefix("z4-client");
        Self {
            env: Arc::new(env.build()),
        }
    }

    /// The peer at this address, by a channel of its own. gRPC connects when the channel
    /// is used.
    pub(crate) fn dial(&self, place: usize, address: &str) -> Peer {
        let channel = self.builder().connect(address);
        Peer {
            place,
            collection: CollectionClient::new(channel.clone()),
            admin: AdminClient::new(channel.clone()),
            channel,
        }
    }

    fn builder(&self) -> ChannelBuilder {
        let len = i32::try_from(limits::MESSAGE_LEN_MAX).unwrap_or(i32::MAX);
        ChannelBuilder::new(Arc::clone(&self.env))
            .max_receive_message_len(len)
            .max_send_message_len(len)
            .initial_reconnect_backoff(limits::RECONNECT_MIN)
            .max_reconnect_backoff(limits::RECONNECT_MAX)
            .keepalive_time(limits::KEEPALIVE_TIME)
            .keepalive_timeout(limits::KEEPALIVE_TIMEOUT)
            // Peers are dialled directly, whatever http_proxy says.
            .raw_cfg_int(CString::from(c"grpc.enable_http_proxy"), 0)
            // A peer that comes back under its name with another IP address is found
            // again when the next attempt is made.
            .raw_cfg_int(
                CString::from(c"grpc.dns_min_time_between_resolutions_ms"),
                i32::try_from(limits::RESOLVE_INTERVAL.as_millis()).unwrap_or(i32::MAX),
            )
    }
}
