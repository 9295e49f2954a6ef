//! Why a connection failed, in plain words, and what to do. Pure.

/// The words of gRPC, and those that are said in their place.
const PLAIN: [(&str, &str); 13] = [
    ("Connection refused", "connection refused"),
    ("No route to host", "no route to the host"),
    ("Network is unreachable", "the network is unreachable"),
    ("Connection reset", RESET),
    ("Socket closed", CLOSED),
    ("http1", NO_GRPC),
    ("HTTP/1", NO_GRPC),
    ("missing selected ALPN", NO_GRPC),
    ("Name or service not known", "the name does not resolve"),
    ("omain name not found", "the name does not resolve"),
    ("DNS resolution failed", "the name does not resolve"),
    ("keepalive", "the connection was silent for too long"),
    ("timed out", "it did not answer in time"),
];

const CLOSED: &str = "the connection was closed";
const RESET: &str = "the connection was reset";
const NO_GRPC: &str = "what listens there does not speak gRPC";

/// The words of gRPC about TLS. They do not tell a certificate of another CA from one that ran out.
const OF_TLS: [(&str, &str); 4] = [
    ("certificate verify failed", UNTRUSTED),
    ("wrong version number", NO_TLS),
    ("unknown ca", UNKNOWN),
    ("certificate required", UNKNOWN),
];

const UNTRUSTED: &str = "its certificate does not come from the given CA, or has run out";
const NO_TLS: &str = "what listens there does not speak TLS";
const UNKNOWN: &str = "it does not take this client without a certificate of a CA that it trusts";
const NAMELESS: &str = "its certificate does not have the name";
const CLOSED_IN_TLS: &str = "it closed the connection during the handshake of TLS";
const CLOSED_AT_ONCE: &str = "it closed the connection at once";

/// The remedies for reasons that begin so; all others have [`REMEDY`].
const REMEDIES: [(&str, &str); 6] = [
    (
        UNTRUSTED,
        "give the CA that its certificate comes from, or replace its certificate",
    ),
    (
        NO_TLS,
        "connect without TLS, or start it with a certificate",
    ),
    (UNKNOWN, "give a certificate of such a CA and its key"),
    (
        NAMELESS,
        "connect to a name that it has, or say by which of its names the server goes",
    ),
    (
        CLOSED_IN_TLS,
        "does it ask clients for a certificate? give one of a CA that it trusts, and its key; if \
         not, it may have no room for more connections",
    ),
    (
        CLOSED_AT_ONCE,
        "does it speak TLS? give the CA of its certificate; if not, it may have no room for more \
         connections",
    ),
];

const REMEDY: &str = "is a peer running there, and is this its service port?";

/// Why a connection failed, in a few words, from what gRPC says of it.
pub(crate) fn plain_reason(said: &str) -> String {
    let named = said.split_once("Peer name ").map(|(_, name)| name);
    let named = named.and_then(|name| name.split_once(" is not in peer certificate"));
    if let Some((name, _)) = named {
        return format!("{NAMELESS} {name}");
    }
    let found = OF_TLS.iter().chain(&PLAIN);
    match found.into_iter().find(|(theirs, _)| said.contains(theirs)) {
        Some((_, ours)) => (*ours).to_owned(),
        None => said.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// The reason for which there is no connection, where one that came about was closed before
/// it was of use: gRPC does not say more.
pub(crate) fn unconnected(why: &str, is_tls: bool) -> &str {
    match (why == CLOSED || why == RESET, is_tls) {
        (true, true) => CLOSED_IN_TLS,
        (true, false) => CLOSED_AT_ONCE,
        (false, _) => why,
    }
}

/// The remedy when peers were not reached for these reasons.
pub(crate) fn remedy<'a>(reasons: impl Iterator<Item = &'a str>) -> &'static str {
    let of = |why: &str| REMEDIES.iter().find(|(begin, _)| why.starts_with(begin));
    let mut found = reasons.filter_map(of);
    found.next().map_or(REMEDY, |(_, remedy)| remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_of_grpc_are_put_in_plain_words() {
        let said = "failed to connect to all addresses; last error: UNKNOWN: \
                    ipv4:127.0.0.1:9: Failed to connect to remote host: Connection refused";
        assert_eq!(plain_reason(said), "connection refused");
        assert_eq!(plain_reason("a\n b"), "a b");
    }

    #[test]
    fn reasons_of_tls_have_a_remedy_of_their_own() {
        let said = |text: &str| {
            let said = format!("last error: UNKNOWN: ipv4:127.0.0.1:9: {text}");
            unconnected(&plain_reason(&said), true).to_owned()
        };
        let handshake = "Ssl handshake failed: SSL_ERROR_SSL: error:0A";
        for (text, ours) in [
            (
                &*format!("{handshake}000086:SSL routines::certificate verify failed"),
                UNTRUSTED,
            ),
            (
                &*format!("{handshake}00010B:SSL routines::wrong version number"),
                NO_TLS,
            ),
            (
                &*format!("{handshake}000418:SSL routines::tlsv1 alert unknown ca"),
                UNKNOWN,
            ),
            (
                "Peer name 10.0.0.1 is not in peer certificate",
                "its certificate does not have the name 10.0.0.1",
            ),
            ("Socket closed", CLOSED_IN_TLS),
        ] {
            let why = said(text);
            assert_eq!(why, ours);
            assert_ne!(remedy([REMEDY, &why].into_iter()), REMEDY, "{why}");
        }
        let why = unconnected(CLOSED, false);
        assert!(remedy([why].into_iter()).contains("speak TLS?"));
        // A connection that was of use before is another matter.
        assert_eq!(remedy([CLOSED].into_iter()), REMEDY);
        assert_eq!(
            unconnected("connection refused", true),
            "connection refused"
        );
    }
}
