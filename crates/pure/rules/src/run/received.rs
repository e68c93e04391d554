//! When an attempt was received, as it is kept for a later life of its runtimed.

use jiff::Timestamp;
use std::time::Duration;

/// A time by the clock that people set, and by the one that nobody can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// The wall clock.
    pub wall: Timestamp,
    /// CLOCK_BOOTTIME (clock_gettime(2)), unless the machine was booted since.
    pub boot: Option<Duration>,
}

impl Received {
    /// That time on a wall clock that shows `wall` now, while CLOCK_BOOTTIME is at `boot`. Never after now.
    #[must_use]
    pub fn on(self, wall: Timestamp, boot: Duration) -> Timestamp {
        let ago = self.boot.and_then(|received| boot.checked_sub(received));
        let counted = ago.and_then(|ago| wall.checked_sub(ago).ok());
        counted.unwrap_or(self.wall).min(wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_wall_clock_changes_no_span() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let secs = Duration::from_secs;
        let cases = [
            ("the clocks agree", Some(100), (1010, 110), 1000),
            ("set forward by an hour", Some(100), (4610, 110), 4600),
            ("set back by an hour", Some(100), (-2590, 110), -2600),
            ("another boot", None, (1010, 5), 1000),
            ("another boot, and set back", None, (900, 5), 900),
            ("a later time of this boot is none", Some(100), (1010, 99), 1000),
        ];
        for (case, boot, (wall, now), want) in cases {
            let received = Received { wall: at(1000), boot: boot.map(secs) };
            assert_eq!(received.on(at(wall), secs(now)), at(want), "{case}");
        }
    }
}
