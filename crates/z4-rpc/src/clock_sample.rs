//! What peers say of their clocks, as a message.

use z4_consensus::clocks::{ClockSample, Echo};
use z4_proto::generated::peer;

/// The message of a sample.
pub(crate) fn to_message(sample: &ClockSample) -> peer::ClockSample {
    let mut message = peer::ClockSample::default();
    message.set_wall_ns(sample.wall_ns);
    message.set_sent_ns(sample.sent_ns);
    message.set_asks(sample.asks);
    if let Some(echo) = sample.echo {
        let mut echoed = peer::ClockEcho::default();
        echoed.set_sent_ns(echo.sent_ns);
        echoed.set_held_ns(echo.held_ns);
        message.set_echo(echoed);
    }
    message
}

/// Reads one. Any numbers may stand in it: they are judged where they are used.
pub(crate) fn read(message: &peer::ClockSample) -> ClockSample {
    let echo = message.has_echo().then(|| Echo {
        sent_ns: message.get_echo().get_sent_ns(),
        held_ns: message.get_echo().get_held_ns(),
    });
    ClockSample {
        wall_ns: message.get_wall_ns(),
        sent_ns: message.get_sent_ns(),
        asks: message.get_asks(),
        echo,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_reads_as_it_was_written() {
        let bare = ClockSample {
            wall_ns: 1,
            sent_ns: 2,
            asks: true,
            echo: None,
        };
        let echo = Some(Echo {
            sent_ns: 3,
            held_ns: 4,
        });
        for sample in [bare, ClockSample { echo, ..bare }] {
            assert_eq!(read(&to_message(&sample)), sample);
        }
    }
}
