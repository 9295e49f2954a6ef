//! Decisions out of the bytes of a fuzz target, one byte for each: so a changed
//! byte is a changed decision.

use rand::RngCore;

pub struct Bytes<'a>(pub &'a [u8]);

impl Bytes<'_> {
    /// Whether some are left; without, every decision is the first choice.
    pub fn left(&self) -> bool {
        !self.0.is_empty()
    }
}

impl RngCore for Bytes<'_> {
    fn next_u32(&mut self) -> u32 {
        let byte = match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        };
        u32::from_be_bytes([byte; 4])
    }

    fn next_u64(&mut self) -> u64 {
        let half = u64::from(self.next_u32());
        half << 32 | half
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        for place in dest {
            *place = self.next_u32() as u8;
        }
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}
