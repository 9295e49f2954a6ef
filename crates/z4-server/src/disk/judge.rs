//! Whether there is too little space.

use z4_rpc::DiskSpace;

/// A volume with data on it, and what must stay free there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Filled {
    pub free_bytes: u64,
    pub needed_bytes: u64,
}

impl Filled {
    /// Free beyond what is needed; negative when it is too little.
    fn spare_bytes(&self) -> i128 {
        i128::from(self.free_bytes) - i128::from(self.needed_bytes)
    }

    /// What must be free before a volume that had too little has enough: a
    /// quarter more, so that it does not change with every file.
    fn enough_bytes(&self) -> u64 {
        self.needed_bytes.saturating_add(self.needed_bytes / 4)
    }
}

/// Remembers whether there was too little.
#[derive(Debug, Default)]
pub(super) struct Judge {
    is_low: bool,
}

impl Judge {
    /// Judges by the fullest of the volumes.
    pub fn judge(&mut self, volumes: &[Filled]) -> DiskSpace {
        let mark = |volume: &Filled| match self.is_low {
            true => volume.enough_bytes(),
            false => volume.needed_bytes,
        };
        self.is_low = volumes.iter().any(|v| v.free_bytes < mark(v));
        let fullest = volumes.iter().min_by_key(|v| v.spare_bytes());
        fullest.map_or(DiskSpace::default(), |v| DiskSpace {
            free_bytes: v.free_bytes,
            needed_bytes: v.needed_bytes,
            is_low: self.is_low,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(free_bytes: u64) -> Filled {
        Filled {
            free_bytes,
            needed_bytes: 1_000,
        }
    }

    #[test]
    fn once_low_it_takes_clearly_more_to_be_enough() {
        let mut judge = Judge::default();
        let mut low = |free| judge.judge(&[filled(free)]).is_low;
        assert!(!low(1_000));
        assert!(low(999));
        assert!(low(1_249));
        assert!(!low(1_250));
        assert!(!low(1_000));
    }

    #[test]
    fn the_fullest_volume_counts_and_is_told() {
        let mut judge = Judge::default();
        let space = judge.judge(&[filled(5_000), filled(10), filled(2_000)]);
        assert_eq!((space.free_bytes, space.is_low), (10, true));
        assert_eq!(judge.judge(&[]), DiskSpace::default());
    }
}
