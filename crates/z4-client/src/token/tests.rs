//! Real servers of gRPC on loopback: what calls and streams bring, who is refused, and files
//! of tokens that change.

#![allow(clippy::unwrap_used)]

mod server;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::executor::block_on;
use tempfile::TempDir;

use super::*;
use crate::{
    Client, Consumer, Delivery, Failure, Grant, NewTask, Options, Producer, ProducerOptions, Role,
    Tls,
};
use server::Server;

const ONE: &str = "z4_1_aaaa";
const TWO: &str = "z4_2_bbbb";

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs() as i64
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn connect(server: &Server, token: Option<Token>) -> Client {
    let options = Options {
        token,
        ..Options::default()
    };
    block_on(Client::connect([&*server.address], options)).unwrap()
}

fn refused(address: &str, options: Options) -> String {
    let error = block_on(Client::connect([address], options)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    error.to_string()
}

fn within<T>(mut step: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(done) = step() {
            return done;
        }
        assert!(Instant::now() < end, "it does not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Takes part in nothing, until its stream ends for good.
fn consume(client: &Client) -> std::thread::JoinHandle<Result<(), Error>> {
    let consumer = Consumer::builder("ns")
        .lease(Duration::from_secs(10))
        .build(client);
    std::thread::spawn(move || {
        let handler = |_: Delivery| async { Ok::<(), Failure>(()) };
        block_on(consumer.run(handler)).map(|_| ())
    })
}

fn create(producer: &Producer) -> Result<(), Error> {
    block_on(block_on(producer.send(NewTask::new("ns", "x")))).map(|_| ())
}

#[test]
fn every_call_and_every_stream_brings_the_token() {
    let server = Server::start(ONE);
    let client = connect(&server, Some(Token::new(format!(" {ONE}\n"))));
    block_on(client.health()).unwrap();
    let identity = block_on(client.who_am_i()).unwrap();
    assert_eq!(identity.known_by, "token 7");
    let mut tasks = client.stream("ns");
    block_on(tasks.next()).unwrap();
    create(&Producer::new(&client, ProducerOptions::default())).unwrap();
    block_on(client.cluster_info()).unwrap();
    block_on(client.peers.knows_leader(&client.peers.first())).unwrap();
    let consuming = consume(&client);
    within(|| server.headers("consume").first().cloned());
    for call in [
        "check_health",
        "who_am_i",
        "get_task_stream",
        "create_task_stream",
        "consume",
        "get_cluster_info",
    ] {
        assert!(!server.headers(call).is_empty(), "{call}");
    }
    assert_eq!(server.others(&bearer(ONE)), []);
    // Nobody knows the token any more, and there is no other.
    server.know(TWO);
    let error = consuming.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    let error = within(|| block_on(tasks.next()).err());
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
}

#[test]
fn without_a_token_there_is_no_header() {
    let server = Server::start("");
    block_on(connect(&server, None).health()).unwrap();
    assert_eq!(server.others(""), []);
    server.know(ONE);
    let start = Instant::now();
    let error = block_on(connect(&server, None).health()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.message().starts_with("the token is not known"));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(server.headers("check_health").len(), 2, "not tried again");
}

#[test]
fn a_producer_that_is_refused_says_so_at_once() {
    let server = Server::start_strict(ONE);
    let start = Instant::now();
    for (token, kind) in [
        (ONE, ErrorKind::PermissionDenied),
        (TWO, ErrorKind::Unauthenticated),
    ] {
        let client = connect(&server, Some(Token::new(token)));
        let producer = Producer::new(&client, ProducerOptions::default());
        assert_eq!(create(&producer).unwrap_err().kind(), kind);
        // The producer is of use still.
        assert_eq!(create(&producer).unwrap_err().kind(), kind);
    }
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_token_does_not_go_over_a_network_in_the_clear() {
    let with = |token: Token| Options {
        token: Some(token),
        timeout: Duration::from_millis(100),
        ..Options::default()
    };
    for address in ["10.0.0.1:6355", "z4.example:6355", "[2001:db8::1]:6355"] {
        let said = refused(address, with(Token::new(ONE).named("Z4_TOKEN")));
        assert!(said.starts_with("Z4_TOKEN: "), "{said}");
        assert!(
            said.contains(address) && said.contains("give the CA"),
            "{said}"
        );
        assert!(!said.contains("aaaa"), "{said}");
    }
    let several = ["127.0.0.1:1", "10.0.0.1:6355"];
    let error = block_on(Client::connect(several, with(Token::new(ONE)))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    let folder = TempDir::new().unwrap();
    let authority = z4_tls::Authority::create("ca", 30, now_s()).unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.to_pem().unwrap().cert_pem).unwrap();
    let sealed = Options {
        tls: Some(Tls::new(ca)),
        ..with(Token::new(ONE))
    };
    let error = block_on(Client::connect(["10.255.255.1:6355"], sealed)).unwrap_err();
    assert_ne!(error.kind(), ErrorKind::InvalidArgument, "{error}");
}

#[test]
fn addresses_of_this_machine_are_known() {
    for address in [
        "127.0.0.1:1",
        "127.9.9.9:1",
        "[::1]:1",
        "localhost:1",
        "LocalHost:1",
        "[::ffff:127.0.0.1]:1",
    ] {
        assert!(is_loopback(address), "{address}");
    }
    for address in [
        "127.0.0.1",
        "127.0.0.1.example:1",
        "localhost.example:1",
        "0.0.0.0:1",
        "[::]:1",
        "128.0.0.1:1",
        "dns:///localhost:1@10.0.0.1:1",
        ":1",
        "",
    ] {
        assert!(!is_loopback(address), "{address}");
    }
}

#[test]
fn what_is_no_token_is_refused_and_not_shown() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("token");
    let long = format!("z4_1_{}", "secret".repeat(1_000));
    for (text, said) in [
        ("", "there is no token in it"),
        ("z4_1_secret secret", "has a blank"),
        ("z4_1_secr\u{e9}t", "has a blank"),
        (&long, "a token 4096 at most"),
    ] {
        let of_text = Options {
            token: Some(Token::new(text)),
            ..Options::default()
        };
        std::fs::write(&path, text).unwrap();
        let of_file = Options {
            token: Some(Token::from_file(&path).named("--token-file")),
            ..Options::default()
        };
        let by_file = format!("--token-file: {}: ", path.display());
        for (options, place) in [(of_text, "token: "), (of_file, by_file.as_str())] {
            let error = refused("127.0.0.1:1", options);
            assert!(error.starts_with(place), "{error}");
            assert!(error.contains(said), "{text}: {error}");
            assert!(error.contains("give the whole token"), "{error}");
            assert!(!error.contains("secr"), "{error}");
        }
    }
    std::fs::write(&path, " ".repeat(9_000)).unwrap();
    for (path, said) in [
        (path.clone(), "longer than 8192 bytes"),
        (folder.path().join("none"), "cannot be read"),
        (folder.path().to_owned(), "cannot be read"),
    ] {
        let options = Options {
            token: Some(Token::from_file(path)),
            ..Options::default()
        };
        let error = refused("127.0.0.1:1", options);
        assert!(error.contains(said), "{error}");
    }
    let shown = format!("{:?} {:?}", Token::new(ONE), Token::from_file("some/file"));
    assert_eq!(shown, "Token(not shown) Token(\"some/file\")");
}

#[test]
fn a_file_is_looked_at_now_and_then_and_a_bad_one_is_told() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, ONE).unwrap();
    let token = Token::from_file(&path);
    let followed = Followed::open(Some(&token), &["[::1]:1".to_owned()], false).unwrap();
    let start = Instant::now();
    let looks = |count: u32| start + limits::TOKEN_LOOK_INTERVAL * count + Duration::from_secs(1);
    std::fs::write(&path, TWO).unwrap();
    assert_eq!(followed.option_at(start).1, Sent(1));
    assert_eq!(followed.option_at(looks(1)).1, Sent(2));
    std::fs::write(&path, "").unwrap();
    assert_eq!(followed.option_at(looks(2)).1, Sent(2));
    let unknown = || Error::new(ErrorKind::Unauthenticated, "unknown");
    let error = followed.judge(unknown(), Sent(2));
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(
        error.message().contains("there is no token in it"),
        "{error}"
    );
    let error = followed.judge(unknown(), Sent(1));
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    std::fs::write(&path, ONE).unwrap();
    let error = followed.judge(unknown(), Sent(2));
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(followed.judge(unknown(), Sent(3)), unknown());
    let denied = Error::new(ErrorKind::PermissionDenied, "no");
    assert_eq!(followed.judge(denied.clone(), Sent(1)), denied);
}

/// The token is exchanged in its file and revoked at once: calls and streams go on.
#[test]
fn a_token_that_is_exchanged_in_its_file_is_used() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, ONE).unwrap();
    let server = Server::start(ONE);
    let client = connect(&server, Some(Token::from_file(&path)));
    let mut tasks = client.stream("ns");
    block_on(tasks.next()).unwrap();
    let producer = Producer::new(&client, ProducerOptions::default());
    create(&producer).unwrap();
    let consuming = consume(&client);
    within(|| server.headers("consume").first().cloned());
    assert_eq!(server.others(&bearer(ONE)), []);

    std::fs::write(&path, TWO).unwrap();
    server.know(TWO);
    assert_eq!(block_on(client.who_am_i()).unwrap().principal, "mailer");
    create(&producer).unwrap();
    for call in ["get_task_stream", "create_task_stream", "consume"] {
        within(|| {
            block_on(tasks.next()).unwrap();
            let last = server.headers(call).last().cloned();
            (last == Some(bearer(TWO))).then_some(())
        });
    }
    assert!(!consuming.is_finished());
}

#[test]
fn principals_are_told_as_peers_tell_them() {
    let server = Server::start(ONE);
    let client = connect(&server, Some(Token::new(ONE)));
    let grants = [
        Grant::new(Role::Producer, "mail.*"),
        Grant::new(Role::Admin, "*"),
    ];
    let names = ["spiffe://a/b".to_owned()];
    let principal = block_on(client.put_principal("mailer", &grants, &names)).unwrap();
    assert_eq!(principal.name, "mailer");
    assert_eq!(principal.grants, grants);
    assert_eq!(principal.certificate_names, names);
    let page = block_on(client.principals(10, "")).unwrap();
    assert_eq!(page.items[0].name, "after ");
    let page = block_on(client.principals(10, &page.next.unwrap())).unwrap();
    assert_eq!((&*page.items[0].name, page.next), ("after one", None));
    let identity = block_on(client.who_am_i()).unwrap();
    assert_eq!(identity.grants, [Grant::from(server::grant())]);
}

#[test]
fn a_token_is_not_made_twice() {
    let server = Server::start(ONE);
    let client = connect(&server, Some(Token::new(ONE)));
    let error = block_on(client.create_token("mailer", None)).unwrap_err();
    assert!(error.may_be_done(), "{error}");
    assert_eq!(server.created(), 1);
    // An answer that was not lost does not show the token when it is written down.
    let info = crate::TokenInfo {
        id: "7".into(),
        created_at: None,
        expires_at: None,
    };
    let token = crate::NewToken::for_test(info, "z4_7_secret");
    assert!(!format!("{token:?}").contains("secret"), "{token:?}");
}
