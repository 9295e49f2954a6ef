//! Channels to peers, and the stubs of the services on them.
//!
//! gRPC does not let a channel take new certificates. When the files of TLS have changed,
//! the peer of an address is dialled by a new channel; whoever has a stream open holds the
//! old one until the stream ends.

use std::ffi::CString;
use std::sync::Arc;
use std::time::Instant;

use grpcio::{CallOption, Channel, ChannelBuilder, EnvBuilder, Environment};
use z4_proto::access_grpc::AccessClient;
use z4_proto::admin_grpc::AdminClient;
use z4_proto::collection_grpc::CollectionClient;

use crate::client::Options;
use crate::error::Error;
use crate::limits;
use crate::reasons::unconnected;
use crate::tls::Followed;
use crate::token::{self, Sent};

/// The peer of one of the addresses, as one channel reaches it.
pub(crate) struct Peer {
    /// Its place among the addresses.
    pub place: usize,
    /// The number of the TLS material that the channel was made with; 0 in the clear.
    pub generation: u64,
    pub channel: Channel,
    pub collection: CollectionClient,
    pub admin: AdminClient,
    pub access: AccessClient,
    token: Arc<token::Followed>,
}

impl Peer {
    /// The option of every call and every stream: it holds the token. Which one that is goes to
    /// [`Peer::judge`].
    pub(crate) fn option(&self) -> (CallOption, Sent) {
        self.token.option()
    }

    /// The error of a call that was made with this token.
    pub(crate) fn judge(&self, error: Error, sent: Sent) -> Error {
        self.token.judge(error, sent)
    }
}

/// The parts that all channels are made of.
pub(crate) struct Dialler {
    env: Arc<Environment>,
    tls: Option<Followed>,
    token: Arc<token::Followed>,
}

impl Dialler {
    /// Reads the files of TLS and of the token, if there are any.
    pub(crate) fn new(addresses: &[String], options: &Options) -> Result<Self, Error> {
        let tls = options.tls.as_ref().map(Followed::open).transpose()?;
        let token = token::Followed::open(options.token.as_ref(), addresses, tls.is_some())?;
        let env = EnvBuilder::new().cq_count(1).name_prefix("z4-client");
        Ok(Self {
            env: Arc::new(env.build()),
            tls,
            token: Arc::new(token),
        })
    }

    /// The least [`Peer::generation`] that new calls may use.
    pub(crate) fn generation(&self) -> u64 {
        self.tls
            .as_ref()
            .map_or(0, |tls| tls.generation(Instant::now()))
    }

    /// Why there is no connection, with what is wrong with the files of TLS.
    pub(crate) fn explain(&self, why: &str) -> String {
        let why = unconnected(why, self.tls.is_some());
        match self.tls.as_ref().and_then(Followed::trouble) {
            Some(trouble) => format!("{why}; {trouble}"),
            None => why.to_owned(),
        }
    }

    /// The peer at this address, by a channel of its own. gRPC connects when the channel
    /// is used.
    pub(crate) fn dial(&self, place: usize, address: &str) -> Peer {
        let (builder, generation) = match &self.tls {
            Some(tls) => tls.arm(self.builder()),
            None => (self.builder(), 0),
        };
        let channel = builder.connect(address);
        Peer {
            place,
            generation,
            collection: CollectionClient::new(channel.clone()),
            admin: AdminClient::new(channel.clone()),
            access: AccessClient::new(channel.clone()),
            token: Arc::clone(&self.token),
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
