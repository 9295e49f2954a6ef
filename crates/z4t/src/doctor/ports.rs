//! Rules of ports: TLS, access, certificates.

use super::{risk, wrong, Finding, Seen};
use crate::limits;

/// Clients are spoken to in secret where strangers may listen.
pub(super) fn tls(seen: &Seen) -> Vec<Finding> {
    let open = seen.facts().filter(|(_, facts)| {
        let security = &facts.security;
        security.beyond_loopback && !security.service_tls
    });
    let finding = |(id, _)| {
        risk(
            id,
            "the service port is open beyond loopback and has no TLS",
            "whoever is on the way reads and changes tasks, and sees tokens",
            "set Z4_TLS_CERT and Z4_TLS_KEY (z4t certs create-peer makes them), then take \
             Z4_INSECURE away",
        )
    };
    open.map(finding).collect()
}

/// Peers are sure of each other where strangers may connect.
pub(super) fn peer_tls(seen: &Seen) -> Vec<Finding> {
    let open = seen.facts().filter(|(_, facts)| {
        let security = &facts.security;
        security.beyond_loopback && !security.peer_tls
    });
    let finding = |(id, _)| {
        risk(
            id,
            "the peer port is open beyond loopback and has no TLS",
            "whoever reaches it may speak as a member, and so owns the cluster",
            "set Z4_PEER_TLS_CERT, Z4_PEER_TLS_KEY and Z4_PEER_TLS_CA at all members \
             (z4t certs create-peer makes them)",
        )
    };
    open.map(finding).collect()
}

/// Clients are asked who they are where strangers may connect.
pub(super) fn auth(seen: &Seen) -> Vec<Finding> {
    let open = seen.facts().filter(|(_, facts)| {
        let security = &facts.security;
        security.beyond_loopback && !security.auth
    });
    let finding = |(id, _)| {
        risk(
            id,
            "the service port is open beyond loopback and nobody is asked who they are",
            "whoever reaches it may do everything, and remove members too",
            "z4t access new-root-token --out FILE, then Z4_AUTH=on and Z4_AUTH_ROOT_TOKEN_FILE=FILE \
             at all members: README, Access",
        )
    };
    open.map(finding).collect()
}

/// Certificates are good for a while.
pub(super) fn certificates(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for (id, facts) in seen.facts() {
        let Some((name, expires_at)) = &facts.security.certificate else {
            continue;
        };
        let remedy = "replace its file (z4t certs create-peer NAME HOST --ca-dir DIR --out DIR \
                      makes one); no restart is needed";
        match expires_at.duration_since(seen.now) {
            Err(since) => {
                let hours = since.duration().as_secs() / 3_600;
                let measured = format!("the certificate {name} ran out {hours} h ago");
                let why = "those who connect refuse it";
                found.push(wrong(id, measured, why, remedy));
            }
            Ok(left) if left < limits::CERTIFICATE_LEFT_MIN => {
                let hours = left.as_secs() / 3_600;
                let left = match hours {
                    0..72 => format!("{hours} h"),
                    _ => format!("{} days", hours / 24),
                };
                let measured = format!("the certificate {name} runs out in {left}");
                let why = "then nobody can connect any more";
                found.push(risk(id, measured, why, remedy));
            }
            Ok(_) => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{days, facts_of, healthy, now, severities};
    use super::super::Severity::{Risk, Wrong};
    use super::*;

    #[test]
    fn what_is_open_beyond_loopback_is_a_risk_and_on_loopback_is_not() {
        for (rule, place) in [
            (tls as fn(&Seen) -> Vec<Finding>, 0),
            (peer_tls, 1),
            (auth, 2),
        ] {
            let mut seen = healthy();
            let security = &mut facts_of(&mut seen, 1).security;
            let switches = [
                &mut security.service_tls,
                &mut security.peer_tls,
                &mut security.auth,
            ];
            for (at, switch) in switches.into_iter().enumerate() {
                *switch = at != place;
            }
            assert_eq!(severities(&rule(&seen)), [("b", Risk)], "{place}");
            facts_of(&mut seen, 1).security.beyond_loopback = false;
            assert_eq!(rule(&seen), [], "{place}");
        }
    }

    #[test]
    fn certificates_are_renewed_in_time() {
        let of = |at| {
            let mut seen = healthy();
            facts_of(&mut seen, 2).security.certificate = Some(("own of peer".into(), at));
            certificates(&seen)
        };
        assert_eq!(of(now() + days(14)), []);
        let soon = of(now() + days(14) - Duration::from_secs(1));
        assert_eq!(severities(&soon), [("c", Risk)]);
        assert!(soon[0].measured.contains("own of peer runs out in 13 days"));
        assert!(of(now() + days(2))[0].measured.contains("48 h"));
        let over = of(now() - days(1));
        assert_eq!(severities(&over), [("c", Wrong)]);
        assert!(over[0].measured.contains("ran out 24 h ago"));
    }
}
