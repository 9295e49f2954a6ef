//! The secrets that open lanes.
//!
//! A lane has no opening of its own: whoever asks for one is checked on the gRPC
//! port, and is given a secret there that is good for one connection. So the port
//! of lanes knows one rule, and whatever gRPC learns of who may come in, lanes
//! have at once.

use std::hint::black_box;
use std::time::Instant;

use rand::rngs::OsRng;
use rand::RngCore;

use crate::limits;

/// Opens one lane.
pub(crate) type Secret = [u8; limits::LANE_SECRET_LEN];

/// A secret that was handed out and not used yet.
struct Waiting {
    from: u64,
    secret: Secret,
    until: Instant,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Secrets(Vec<Waiting>);

impl Secrets {
    /// A new secret for the peer `from`; one that it was given before opens nothing
    /// any more. `None` when too many others wait, or when the system gives no
    /// random bytes.
    pub(crate) fn hand_out(&mut self, from: u64, now: Instant) -> Option<Secret> {
        self.0.retain(|w| w.until > now && w.from != from);
        if self.0.len() >= limits::LANE_SECRETS_MAX {
            return None;
        }
        let mut secret = Secret::default();
        OsRng.try_fill_bytes(&mut secret).ok()?;
        self.0.push(Waiting {
            from,
            secret,
            until: now + limits::LANE_SECRET_LIFE,
        });
        Some(secret)
    }

    /// Whether the peer `from` was given this secret, and has not used it: it
    /// opens nothing from now on. A wrong one uses nothing up, or else any stranger
    /// could keep peers from opening lanes.
    pub(crate) fn redeem(&mut self, from: u64, secret: &Secret, now: Instant) -> bool {
        self.0.retain(|w| w.until > now);
        let fits = |w: &Waiting| w.from == from && is_same(&w.secret, secret);
        match self.0.iter().position(fits) {
            Some(place) => {
                self.0.swap_remove(place);
                true
            }
            None => false,
        }
    }
}

/// Compares in the same time wherever the two differ: how long it takes tells
/// nobody how much of a guess is right.
fn is_same(a: &Secret, b: &Secret) -> bool {
    let differ = |sum: u8, (a, b): (&u8, &u8)| black_box(sum | (a ^ b));
    a.iter().zip(b).fold(0, differ) == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_secret_opens_one_lane_of_its_peer_for_a_while() {
        let (mut secrets, now) = (Secrets::default(), Instant::now());
        let secret = secrets.hand_out(2, now).unwrap();
        assert!(!secrets.redeem(3, &secret, now), "of another peer");
        assert!(secrets.redeem(2, &secret, now));
        assert!(!secrets.redeem(2, &secret, now), "once");
        let old = secrets.hand_out(2, now).unwrap();
        let late = now + limits::LANE_SECRET_LIFE;
        assert!(!secrets.redeem(2, &old, late), "too late");
    }

    #[test]
    fn every_bit_of_a_secret_counts() {
        let (mut secrets, now) = (Secrets::default(), Instant::now());
        let secret = secrets.hand_out(2, now).unwrap();
        for bit in 0..secret.len() * 8 {
            let mut guess = secret;
            guess[bit / 8] ^= 1 << (bit % 8);
            assert!(!secrets.redeem(2, &guess, now), "bit {bit}");
        }
        assert!(secrets.redeem(2, &secret, now), "guesses used nothing up");
    }

    #[test]
    fn a_newer_secret_takes_the_place_of_an_older_one_and_all_are_bounded() {
        let (mut secrets, now) = (Secrets::default(), Instant::now());
        let first = secrets.hand_out(1, now).unwrap();
        let second = secrets.hand_out(1, now).unwrap();
        assert_ne!(first, second);
        assert!(!secrets.redeem(1, &first, now));
        for from in 2..=limits::LANE_SECRETS_MAX as u64 {
            assert!(secrets.hand_out(from, now).is_some());
        }
        assert!(secrets.hand_out(1_000, now).is_none(), "too many wait");
        let late = now + limits::LANE_SECRET_LIFE;
        assert!(secrets.hand_out(1_000, late).is_some(), "they ran out");
    }
}
