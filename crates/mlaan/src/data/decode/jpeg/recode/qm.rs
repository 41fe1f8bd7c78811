//! The arithmetic decoder (T.81, Annex D).

/// A probability's state and, in the highest bit, the more probable decision.
pub(super) type Bin = u8;

/// The state that stays: a half.
const HALF: usize = 113;

/// Decides by bits.
pub(super) struct Qm<'a> {
    data: &'a [u8],
    /// The code register, scaled by `shift`.
    code: u32,
    /// The interval.
    size: u32,
    /// Bits of the code register that are still to be used; below zero before the first.
    shift: i32,
    /// Whether all bytes are taken. What follows are zeros.
    over: bool,
    beyond: u64,
}

impl<'a> Qm<'a> {
    /// Over the data of a scan, or of a restart interval.
    pub fn new(data: &'a [u8]) -> Self {
        Qm { data, code: 0, size: 0, shift: -16, over: false, beyond: 0 }
    }

    /// Decisions since all bytes were taken.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// A decision of equal chances.
    pub fn even(&mut self) -> bool {
        self.decide(&mut (HALF as Bin))
    }

    /// A decision, by what the bin has seen.
    #[inline]
    pub fn decide(&mut self, bin: &mut Bin) -> bool {
        while self.size < 0x8000 {
            self.shift -= 1;
            if self.shift < 0 {
                self.code = self.code << 8 | self.byte();
                self.shift += 8;
                if self.shift < 0 {
                    self.shift += 1;
                    if self.shift == 0 {
                        self.size = 0x8000;
                    }
                }
            }
            self.size <<= 1;
        }
        self.beyond += u64::from(self.over);
        let (probability, after_less, after_more) = STATES[usize::from(*bin & 0x7F)];
        let probability = u32::from(probability);
        let more = *bin >> 7 == 1;
        self.size -= probability;
        let bound = self.size << self.shift;
        let likely = if self.code >= bound {
            self.code -= bound;
            // The larger part is the more probable decision's, whichever it is.
            let likely = self.size < probability;
            self.size = probability;
            likely
        } else if self.size < 0x8000 {
            self.size >= probability
        } else {
            return more;
        };
        *bin = (*bin & 0x80) ^ if likely { after_more } else { after_less };
        more == likely
    }

    /// The next byte; zero behind the last.
    fn byte(&mut self) -> u32 {
        let (byte, rest) = match self.data {
            // A byte of ones is followed by zeros, by which it is no marker.
            [0xFF, 0, rest @ ..] => (0xFF, rest),
            [0xFF, ..] | [] => {
                self.over = true;
                return 0;
            }
            [byte, rest @ ..] => (*byte, rest),
        };
        self.data = rest;
        u32::from(byte)
    }
}

/// Table D.3: the chance of the less probable decision, the state after it (with the highest bit where the decisions then
/// change places), and the state after the other.
const STATES: [(u16, u8, u8); 114] = [
    (0x5A1D, 0x80 | 1, 1),
    (0x2586, 14, 2),
    (0x1114, 16, 3),
    (0x080B, 18, 4),
    (0x03D8, 20, 5),
    (0x01DA, 23, 6),
    (0x00E5, 25, 7),
    (0x006F, 28, 8),
    (0x0036, 30, 9),
    (0x001A, 33, 10),
    (0x000D, 35, 11),
    (0x0006, 9, 12),
    (0x0003, 10, 13),
    (0x0001, 12, 13),
    (0x5A7F, 0x80 | 15, 15),
    (0x3F25, 36, 16),
    (0x2CF2, 38, 17),
    (0x207C, 39, 18),
    (0x17B9, 40, 19),
    (0x1182, 42, 20),
    (0x0CEF, 43, 21),
    (0x09A1, 45, 22),
    (0x072F, 46, 23),
    (0x055C, 48, 24),
    (0x0406, 49, 25),
    (0x0303, 51, 26),
    (0x0240, 52, 27),
    (0x01B1, 54, 28),
    (0x0144, 56, 29),
    (0x00F5, 57, 30),
    (0x00B7, 59, 31),
    (0x008A, 60, 32),
    (0x0068, 62, 33),
    (0x004E, 63, 34),
    (0x003B, 32, 35),
    (0x002C, 33, 9),
    (0x5AE1, 0x80 | 37, 37),
    (0x484C, 64, 38),
    (0x3A0D, 65, 39),
    (0x2EF1, 67, 40),
    (0x261F, 68, 41),
    (0x1F33, 69, 42),
    (0x19A8, 70, 43),
    (0x1518, 72, 44),
    (0x1177, 73, 45),
    (0x0E74, 74, 46),
    (0x0BFB, 75, 47),
    (0x09F8, 77, 48),
    (0x0861, 78, 49),
    (0x0706, 79, 50),
    (0x05CD, 48, 51),
    (0x04DE, 50, 52),
    (0x040F, 50, 53),
    (0x0363, 51, 54),
    (0x02D4, 52, 55),
    (0x025C, 53, 56),
    (0x01F8, 54, 57),
    (0x01A4, 55, 58),
    (0x0160, 56, 59),
    (0x0125, 57, 60),
    (0x00F6, 58, 61),
    (0x00CB, 59, 62),
    (0x00AB, 61, 63),
    (0x008F, 61, 32),
    (0x5B12, 0x80 | 65, 65),
    (0x4D04, 80, 66),
    (0x412C, 81, 67),
    (0x37D8, 82, 68),
    (0x2FE8, 83, 69),
    (0x293C, 84, 70),
    (0x2379, 86, 71),
    (0x1EDF, 87, 72),
    (0x1AA9, 87, 73),
    (0x174E, 72, 74),
    (0x1424, 72, 75),
    (0x119C, 74, 76),
    (0x0F6B, 74, 77),
    (0x0D51, 75, 78),
    (0x0BB6, 77, 79),
    (0x0A40, 77, 48),
    (0x5832, 0x80 | 80, 81),
    (0x4D1C, 88, 82),
    (0x438E, 89, 83),
    (0x3BDD, 90, 84),
    (0x34EE, 91, 85),
    (0x2EAE, 92, 86),
    (0x299A, 93, 87),
    (0x2516, 86, 71),
    (0x5570, 0x80 | 88, 89),
    (0x4CA9, 95, 90),
    (0x44D9, 96, 91),
    (0x3E22, 97, 92),
    (0x3824, 99, 93),
    (0x32B4, 99, 94),
    (0x2E17, 93, 86),
    (0x56A8, 0x80 | 95, 96),
    (0x4F46, 101, 97),
    (0x47E5, 102, 98),
    (0x41CF, 103, 99),
    (0x3C3D, 104, 100),
    (0x375E, 99, 93),
    (0x5231, 105, 102),
    (0x4C0F, 106, 103),
    (0x4639, 107, 104),
    (0x415E, 103, 99),
    (0x5627, 0x80 | 105, 106),
    (0x50E7, 108, 107),
    (0x4B85, 109, 103),
    (0x5597, 110, 109),
    (0x504F, 111, 107),
    (0x5A10, 0x80 | 110, 111),
    (0x5522, 112, 109),
    (0x59EB, 0x80 | 112, 111),
    (0x5A1D, 113, 113),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_s_own_sequence_is_decoded() {
        // T.81, K.4.1: 256 decisions of one bin, and their code.
        let code = [
            0x65, 0x5B, 0x51, 0x44, 0xF7, 0x96, 0x9D, 0x51, 0x78, 0x55, 0xBF, 0xFF, 0x00, 0xFC, 0x51, 0x84,
            0xC7, 0xCE, 0xF9, 0x39, 0x00, 0x28, 0x7D, 0x46, 0x70, 0x8E, 0xCB, 0xC0, 0xF6,
        ];
        let decisions = [
            0x00, 0x02, 0x00, 0x51, 0x00, 0x00, 0x00, 0xC0, 0x03, 0x52, 0x87, 0x2A, 0xAA, 0xAA, 0xAA, 0xAA,
            0x82, 0xC0, 0x20, 0x00, 0xFC, 0xD7, 0x9E, 0xF6, 0x74, 0xEA, 0xAB, 0xF7, 0x69, 0x7E, 0xE7, 0x4C,
        ];
        let (mut qm, mut bin) = (Qm::new(&code), 0);
        for (n, byte) in decisions.into_iter().enumerate() {
            let seen = (0..8).fold(0_u8, |seen, _| seen << 1 | u8::from(qm.decide(&mut bin)));
            assert_eq!(seen, byte, "byte {n}");
        }
    }

    #[test]
    fn zeros_behind_the_end_are_counted() {
        let mut qm = Qm::new(&[0xFF, 0xD9]);
        let mut bin = 0;
        (0..1000).for_each(|_| _ = qm.decide(&mut bin));
        assert_eq!(qm.beyond(), 1000);
    }
}
