//! A producer of batches, at the pace that the runner sets. Its tasks can all be done,
//! and most are due at once.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::Rng;
use z4_check::told::{Fate, Spec};

use super::pace::{Pace, Turn, BATCH, OPEN_MAX};
use super::{producer, Scene};

/// How long a producer sleeps at once, so that the end of the round is not missed.
const NAP: Duration = Duration::from_millis(200);

/// Works until no more tasks are to be made; `producer` is its number in the pace.
pub fn run(scene: &Scene, client: u32, mut rng: StdRng, pace: &Arc<Pace>, producer: usize) {
    pace.joined(client);
    while scene.produces() {
        let late = match pace.turn(producer) {
            Turn::In(wait) => {
                thread::sleep(wait.min(NAP));
                continue;
            }
            Turn::AtOnce if scene.record.open_tasks() > OPEN_MAX => {
                thread::sleep(Duration::from_millis(2));
                continue;
            }
            Turn::AtOnce => Duration::ZERO,
            Turn::Late(late) => late,
        };
        let start = Instant::now();
        let specs = (0..BATCH).map(|_| spec(&mut rng)).collect();
        if producer::create(scene, client, &mut rng, specs, true) {
            pace.took(late + start.elapsed());
        }
    }
}

fn spec(rng: &mut StdRng) -> Spec {
    let is_later = rng.gen_ratio(1, 5);
    Spec {
        fate: Fate::Good,
        due_ns: if is_later {
            producer::later(rng.gen_range(200..3_000))
        } else {
            0
        },
        ttl_ms: 0,
        attempts_max: 0,
    }
}
