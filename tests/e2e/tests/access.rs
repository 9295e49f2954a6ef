//! The rules of who may do what: every method against every kind of caller, from one table.

use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::{SinkExt, StreamExt};
use grpcio::{CallOption, ChannelCredentials, RpcStatusCode, WriteFlags};
use z4_e2e::asked::{self, ROOT_TOKEN};
use z4_e2e::client::{channel_with, environment, option, Refused};
use z4_e2e::tls::{self, shared, Pki};
use z4_e2e::{wait, Peer, PeerSpec};
use z4_proto::generated::access::{
    CreateTokenRequest, Grant, PutPrincipalRequest, RevokeTokenRequest, Role, WhoAmIRequest,
};
use z4_proto::generated::access_grpc::AccessClient;
use z4_proto::generated::admin::{AddClusterMemberRequest, ListNamespacesRequest};
use z4_proto::generated::admin_grpc::AdminClient;
use z4_proto::generated::collection::{
    ConsumeOpen, ConsumeRequest, CreateTaskRequest, StreamTasksRequest,
};
use z4_proto::generated::collection_grpc::CollectionClient;
use z4_proto::generated::health_grpc::HealthClient;

mod methods;

use methods::{methods, Need};

const LIMIT: Duration = Duration::from_secs(20);
const SPACE: &str = "mail.out";

/// The stubs of one peer, for a caller that shows a token or nothing.
struct Stubs {
    collection: CollectionClient,
    admin: AdminClient,
    access: AccessClient,
    health: HealthClient,
    token: Option<String>,
}

impl Stubs {
    fn new(peer: &Peer, token: Option<&str>) -> Self {
        let credentials = tls::credentials(&peer.service_address());
        Self::with(peer, credentials, token)
    }

    fn with(peer: &Peer, credentials: Option<ChannelCredentials>, token: Option<&str>) -> Self {
        let channel = channel_with(environment(), &peer.service_address(), credentials);
        Self {
            collection: CollectionClient::new(channel.clone()),
            admin: AdminClient::new(channel.clone()),
            access: AccessClient::new(channel.clone()),
            health: HealthClient::new(channel),
            token: token.map(str::to_owned),
        }
    }

    fn option(&self) -> CallOption {
        self.option_for(LIMIT)
    }

    fn option_for(&self, limit: Duration) -> CallOption {
        let option = option(limit);
        match &self.token {
            Some(token) => asked::with_token(option, token),
            None => option,
        }
    }

    fn put(&self, name: &str, role: Role, namespaces: &str) -> Result<(), Refused> {
        let mut grant = Grant::new();
        grant.set_role(role);
        grant.set_namespaces(namespaces.to_owned());
        let mut put = PutPrincipalRequest::new();
        put.set_name(name.to_owned());
        put.set_grants(vec![grant].into());
        self.access.put_principal_opt(&put, self.option())?;
        Ok(())
    }

    /// A token of a principal, and its id.
    fn token(&self, name: &str, life_s: i64) -> (String, String) {
        let mut create = CreateTokenRequest::new();
        create.set_principal(name.to_owned());
        if life_s != 0 {
            create.mut_expires_in().set_seconds(life_s);
        }
        let made = self.access.create_token_opt(&create, self.option());
        let mut made = made.unwrap();
        (made.take_secret(), made.take_token().take_id())
    }

    fn revoke(&self, name: &str, id: &str) {
        let mut revoke = RevokeTokenRequest::new();
        revoke.set_principal(name.to_owned());
        revoke.set_token_id(id.to_owned());
        let revoked = self.access.revoke_token_opt(&revoke, self.option());
        revoked.unwrap();
    }
}

/// A peer that asks who they are, and has no admin yet.
fn asking(mut spec: PeerSpec) -> PeerSpec {
    spec.asks = false;
    let with = |spec: PeerSpec, (name, value): &(String, String)| spec.with(name, value);
    asked::variables().iter().fold(spec, with)
}

/// An admin with a token of its own, made by the token of the file.
fn admin(peer: &Peer) -> Stubs {
    let root = Stubs::new(peer, Some(ROOT_TOKEN));
    wait::until("the first admin is made", LIMIT, || {
        let put = root.put("boss", Role::ROLE_ADMIN, "*");
        put.map_err(|e| e.to_string())
    });
    let (token, _) = root.token("boss", 0);
    Stubs::new(peer, Some(&token))
}

fn started(spec: PeerSpec) -> Peer {
    let mut peer = Peer::new(asking(spec));
    peer.start();
    peer.wait_ready();
    peer
}

/// The name of a caller, its token, its role, and that its grant is for the namespace.
type Caller = (String, Option<String>, Option<(Role, bool)>);

#[test]
fn every_method_asks_what_it_has_to_of_every_kind_of_caller() {
    let peer = started(PeerSpec::bootstrap("peer1").sealed());
    let boss = admin(&peer);
    let roles = [
        Role::ROLE_READER,
        Role::ROLE_PRODUCER,
        Role::ROLE_CONSUMER,
        Role::ROLE_OPERATOR,
    ];
    let mut callers: Vec<Caller> = vec![
        ("nobody".into(), None, None),
        ("a token that is none".into(), Some("z4_x".into()), None),
        (
            "an unknown token".into(),
            Some(format!("z4_{}_{}", "0".repeat(16), "0".repeat(64))),
            None,
        ),
        (
            "the root token, with an admin there".into(),
            Some(ROOT_TOKEN.into()),
            None,
        ),
    ];
    for (n, role) in roles.into_iter().enumerate() {
        for (is_on, scope) in [(true, "mail.*"), (false, "other*")] {
            let name = format!("p{n}-{is_on}");
            boss.put(&name, role, scope).unwrap();
            let (token, _) = boss.token(&name, 0);
            callers.push((
                format!("{role:?} on {scope}"),
                Some(token),
                Some((role, is_on)),
            ));
        }
    }
    callers.push((
        "admin".into(),
        boss.token.clone(),
        Some((Role::ROLE_ADMIN, true)),
    ));
    boss.put("late", Role::ROLE_ADMIN, "*").unwrap();
    let (late, _) = boss.token("late", 1);
    let (gone, gone_id) = boss.token("late", 0);
    boss.revoke("late", &gone_id);
    std::thread::sleep(Duration::from_millis(1_100));
    callers.push(("a token that ran out".into(), Some(late), None));
    callers.push(("a revoked token".into(), Some(gone), None));
    let mut cells = every_method_by_certificate(&peer, &boss);
    for (method, need, call) in methods() {
        for (who, token, role) in &callers {
            let said = call(&Stubs::new(&peer, token.as_deref()));
            let code = said.as_ref().err().map(|refused| refused.code);
            let expected = match (need, role) {
                (Need::Nothing, _) => None,
                (_, None) => Some(RpcStatusCode::UNAUTHENTICATED),
                (_, Some((Role::ROLE_ADMIN, _))) | (Need::Known, Some(_)) => None,
                (Need::AnyOn, Some((_, true))) => None,
                (Need::On(needed), Some((role, true)))
                    if *role == needed || *role == Role::ROLE_OPERATOR =>
                {
                    None
                }
                _ => Some(RpcStatusCode::PERMISSION_DENIED),
            };
            let is_let_in = !matches!(
                code,
                Some(RpcStatusCode::UNAUTHENTICATED | RpcStatusCode::PERMISSION_DENIED)
            );
            match expected {
                None => assert!(is_let_in, "{method} by {who}: {said:?}"),
                Some(_) => assert_eq!(code, expected, "{method} by {who}: {said:?}"),
            }
            if let (Some(RpcStatusCode::PERMISSION_DENIED), Err(refused)) = (expected, &said) {
                assert!(refused.message.contains("it lacks the grant"), "{refused}");
            }
            cells += 1;
        }
    }
    println!(
        "{cells} cells, {} methods, {} callers",
        methods().len(),
        callers.len()
    );
    let log = peer.log();
    assert!(
        log.contains("audit") && log.contains("DeleteNamespace"),
        "an audit line"
    );
    for (_, token, _) in &callers {
        let secret = token.as_ref().and_then(|t| t.rsplit('_').next());
        let is_secret = |secret: &&str| secret.len() == 64 && secret.bytes().any(|c| c != b'0');
        if let Some(secret) = secret.filter(is_secret) {
            assert!(!log.contains(secret), "a secret stands in the log");
        }
    }
}

/// Calls every method by certificates: what TLS does not let in gets no answer, and who has
/// a name that is no principal's is not known. Gives how many calls were made.
fn every_method_by_certificate(peer: &Peer, boss: &Stubs) -> usize {
    let (ours, other) = (&shared().pki, Pki::new("another"));
    let issued = |from_s| ours.issue_at(z4_tls::Role::Client, "reader.example", from_s);
    let (good, late) = (issued(tls::now_s()), issued(tls::now_s() - 2 * 86_400));
    let wrong = other.issue(z4_tls::Role::Client, "reader.example");
    let nameless = ours.issue(z4_tls::Role::Client, "stranger.example");
    let mut put = PutPrincipalRequest::new();
    put.set_name("reader".to_owned());
    let mut grant = Grant::new();
    grant.set_role(Role::ROLE_READER);
    grant.set_namespaces(SPACE.to_owned());
    put.set_grants(vec![grant].into());
    put.set_certificate_names(vec!["reader.example".to_owned()].into());
    boss.access.put_principal_opt(&put, boss.option()).unwrap();
    let table = [
        ("in the clear", None, Some(RpcStatusCode::UNAVAILABLE)),
        (
            "no certificate",
            Some(ours.credentials(None)),
            Some(RpcStatusCode::UNAVAILABLE),
        ),
        (
            "another CA",
            Some(ours.credentials(Some(&wrong))),
            Some(RpcStatusCode::UNAVAILABLE),
        ),
        (
            "it ran out",
            Some(ours.credentials(Some(&late))),
            Some(RpcStatusCode::UNAVAILABLE),
        ),
        (
            "another name",
            Some(ours.credentials(Some(&nameless))),
            Some(RpcStatusCode::UNAUTHENTICATED),
        ),
        ("a reader", Some(ours.credentials(Some(&good))), None),
    ];
    let mut cells = 0;
    for (what, credentials, expected) in table {
        let stubs = Stubs::with(peer, credentials, None);
        for (method, need, call) in methods() {
            let said = call(&stubs);
            let code = said.as_ref().err().map(|refused| refused.code);
            let reads = matches!(
                need,
                Need::Nothing | Need::Known | Need::AnyOn | Need::On(Role::ROLE_READER)
            );
            match expected {
                Some(RpcStatusCode::UNAUTHENTICATED) if need == Need::Nothing => {
                    assert!(said.is_ok(), "{method} by {what}: {said:?}");
                }
                Some(_) => assert_eq!(code, expected, "{method} by {what}: {said:?}"),
                None => {
                    let is_denied = code == Some(RpcStatusCode::PERMISSION_DENIED);
                    assert_eq!(is_denied, !reads, "{method} by {what}: {said:?}");
                    assert_ne!(code, Some(RpcStatusCode::UNAUTHENTICATED), "{method}");
                }
            }
            cells += 1;
        }
    }
    cells
}

#[test]
fn a_caller_sees_its_namespaces_and_knows_itself() {
    let peer = started(PeerSpec::bootstrap("peer1"));
    let boss = admin(&peer);
    for name in ["mail.in", "mail.out", "money"] {
        let mut create = CreateTaskRequest::new();
        create.set_namespace(name.to_owned());
        let created = boss.collection.create_task_opt(&create, boss.option());
        created.unwrap();
    }
    boss.put("mailer", Role::ROLE_PRODUCER, "mail.*").unwrap();
    let (token, id) = boss.token("mailer", 0);
    let mailer = Stubs::new(&peer, Some(&token));
    let list = ListNamespacesRequest::new();
    let listed = mailer.admin.list_namespaces_opt(&list, mailer.option());
    let listed = listed.unwrap();
    let names: Vec<&str> = listed
        .get_namespaces()
        .iter()
        .map(|n| n.get_name())
        .collect();
    assert_eq!(names, ["mail.in", "mail.out"]);
    let who = mailer
        .access
        .who_am_i_opt(&WhoAmIRequest::new(), mailer.option());
    let who = who.unwrap();
    assert_eq!(who.get_principal(), "mailer");
    assert_eq!(who.get_known_by(), format!("token {id}"));
    assert_eq!(who.get_grants()[0].get_namespaces(), "mail.*");
}

#[test]
fn a_revoked_token_ends_its_streams_everywhere_at_once() {
    let spec = |n: usize| match n {
        1 => asking(PeerSpec::bootstrap("peer1")),
        n => asking(PeerSpec::waiting(&format!("peer{n}"))),
    };
    let mut peers: Vec<Peer> = (1..=3).map(|n| Peer::new(spec(n))).collect();
    peers.iter_mut().for_each(Peer::start);
    peers[0].wait_ready();
    let boss = admin(&peers[0]);
    for peer in &peers[1..] {
        let mut add = AddClusterMemberRequest::new();
        add.set_member_id(peer.spec.id.clone());
        add.set_member_address(peer.peer_address());
        wait::until("the peer is added", LIMIT, || {
            let added = boss.admin.add_cluster_member_opt(&add, boss.option());
            added.map(drop).map_err(|e| e.to_string())
        });
    }
    boss.put("worker", Role::ROLE_OPERATOR, "mail.*").unwrap();
    let (token, id) = boss.token("worker", 0);
    let (kept, _) = boss.token("worker", 0);
    wait::until("all members know the token", LIMIT, || {
        let asked = peers.iter().map(|peer| {
            let worker = Stubs::new(peer, Some(&token));
            let who = worker
                .access
                .who_am_i_opt(&WhoAmIRequest::new(), worker.option());
            who.map(drop).map_err(|e| e.to_string())
        });
        asked.collect::<Result<Vec<()>, _>>().map(drop)
    });
    let open = |token: &str| -> Vec<_> {
        let stubs: Vec<_> = peers
            .iter()
            .map(|peer| Stubs::new(peer, Some(token)))
            .collect();
        let mut streams = Vec::new();
        for stubs in &stubs {
            let mut request = StreamTasksRequest::new();
            request.set_namespace(SPACE.to_owned());
            let option = stubs.option_for(Duration::from_secs(60));
            let tasks = stubs.collection.get_task_stream_opt(&request, option);
            streams.push(tasks.unwrap().map(|r| r.map(drop)).boxed());
            let option = stubs.option_for(Duration::from_secs(60));
            let (mut sender, receiver) = stubs.collection.consume_opt(option).unwrap();
            let mut open = ConsumeOpen::new();
            open.set_namespace(SPACE.to_owned());
            let mut request = ConsumeRequest::new();
            request.set_open(open);
            block_on(sender.send((request, WriteFlags::default()))).unwrap();
            let receiver = receiver.map(move |r| {
                let _keeps_it_open = &sender;
                r.map(drop)
            });
            streams.push(receiver.boxed());
            let option = stubs.option_for(Duration::from_secs(60));
            let (sender, receiver) = stubs.collection.create_task_stream_opt(option).unwrap();
            let receiver = receiver.map(move |r| {
                let _keeps_it_open = &sender;
                r.map(drop)
            });
            streams.push(receiver.boxed());
        }
        streams
    };
    let ending = open(&token);
    let staying = open(&kept);
    std::thread::sleep(Duration::from_millis(500));
    let since = Instant::now();
    boss.revoke("worker", &id);
    for (n, mut stream) in ending.into_iter().enumerate() {
        let ended = loop {
            match block_on(stream.next()) {
                // An answer that was given before.
                Some(Ok(())) => {}
                ended => break ended,
            }
        };
        let Some(Err(error)) = ended else {
            panic!("stream {n} ended without a word");
        };
        let refused = Refused::from(error);
        assert_eq!(refused.code, RpcStatusCode::UNAUTHENTICATED, "{refused}");
    }
    println!("9 streams at 3 peers ended after {:?}", since.elapsed());
    assert!(
        since.elapsed() < Duration::from_secs(2),
        "{:?}",
        since.elapsed()
    );
    for mut stream in staying {
        let looked = futures::FutureExt::now_or_never(stream.next());
        let is_open = matches!(looked, None | Some(Some(Ok(()))));
        assert!(is_open, "a stream of another token ended: {looked:?}");
    }
}

#[test]
fn a_certificate_is_a_principal_by_its_names() {
    let spec = PeerSpec::bootstrap("peer1").sealed();
    let peer = started(spec);
    let boss = admin(&peer);
    // The certificate that all clients here show has this name.
    let mut put = PutPrincipalRequest::new();
    put.set_name("tests".to_owned());
    let mut grant = Grant::new();
    grant.set_role(Role::ROLE_READER);
    grant.set_namespaces("mail.*".to_owned());
    put.set_grants(vec![grant].into());
    put.set_certificate_names(vec!["Z4-e2e-client".to_owned()].into());
    let tests = Stubs::new(&peer, None);
    let who = || {
        tests
            .access
            .who_am_i_opt(&WhoAmIRequest::new(), tests.option())
    };
    let refused = Refused::from(who().unwrap_err());
    assert_eq!(refused.code, RpcStatusCode::UNAUTHENTICATED);
    boss.access.put_principal_opt(&put, boss.option()).unwrap();
    let known = who().unwrap();
    assert_eq!(known.get_principal(), "tests");
    assert_eq!(known.get_known_by(), "certificate z4-e2e-client");
    let mut create = CreateTaskRequest::new();
    create.set_namespace(SPACE.to_owned());
    let created = tests.collection.create_task_opt(&create, tests.option());
    let refused = Refused::from(created.unwrap_err());
    assert_eq!(refused.code, RpcStatusCode::PERMISSION_DENIED, "{refused}");
}

#[test]
fn principals_survive_restarts_and_reach_newcomers_by_snapshot() {
    let with_short_log = |spec: PeerSpec| spec.with("Z4_LOG_KEEP_ENTRIES", "10");
    let mut first = started(with_short_log(PeerSpec::bootstrap("peer1")));
    let boss = admin(&first);
    boss.put("mailer", Role::ROLE_PRODUCER, "mail.*").unwrap();
    let (token, _) = boss.token("mailer", 0);
    for n in 0..200 {
        let mut create = CreateTaskRequest::new();
        create.set_namespace(format!("mail.{}", n % 3));
        let created = boss.collection.create_task_opt(&create, boss.option());
        created.unwrap();
    }
    first.kill();
    first.start();
    first.wait_ready();
    let mut newcomer = Peer::new(asking(with_short_log(PeerSpec::waiting("peer2"))));
    newcomer.start();
    let mut add = AddClusterMemberRequest::new();
    add.set_member_id("peer2".to_owned());
    add.set_member_address(newcomer.peer_address());
    wait::until("the newcomer is added", LIMIT, || {
        let added = boss.admin.add_cluster_member_opt(&add, boss.option());
        added.map(drop).map_err(|e| e.to_string())
    });
    let mailer = Stubs::new(&newcomer, Some(&token));
    wait::until("the newcomer knows the token", LIMIT, || {
        let who = mailer
            .access
            .who_am_i_opt(&WhoAmIRequest::new(), mailer.option());
        let who = who.map_err(|e| e.to_string())?;
        wait::check(who.get_principal() == "mailer", || format!("{who:?}"))
    });
}
