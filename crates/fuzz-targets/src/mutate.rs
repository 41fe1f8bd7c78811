//! Inputs that are nearly right: valid ones, changed a little, the same for the same seed.

/// Longest input.
const LONGEST: usize = 1 << 18;

/// Numbers at which things break, as bytes of either order.
const EDGES: [u64; 14] = [
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0xFFFF,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    0x1_0000_0000,
    0x7FFF_FFFF_FFFF_FFFF,
    u64::MAX,
];

/// The same, as text; and what text has besides.
const WORDS: [&str; 16] = [
    "0",
    "-1",
    "1",
    "255",
    "2147483647",
    "4294967296",
    "9223372036854775808",
    "1e999",
    "NaN",
    "-0.0",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\u{7f}",
];

/// Numbers that look random (Steele, Lea and Flood 2014).
pub struct Rng(u64);

impl Rng {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }

    /// The next.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One below `end`; 0 where there is none.
    pub fn below(&mut self, end: usize) -> usize {
        (self.draw() % end.max(1) as u64) as usize
    }

    fn range(&mut self, length: usize, most: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..(start + self.below(most + 1)).min(length)
    }
}

/// Makes inputs of a corpus.
pub struct Mutator {
    corpus: Vec<Vec<u8>>,
}

impl Mutator {
    /// Of these valid inputs.
    pub fn new(corpus: Vec<Vec<u8>>) -> Self {
        Mutator { corpus }
    }

    /// Input `number` of those that `seed` gives: first the corpus itself, then changes of it.
    pub fn input(&self, seed: u64, number: u64) -> Vec<u8> {
        if let Some(whole) = usize::try_from(number).ok().and_then(|n| self.corpus.get(n)) {
            return whole.clone();
        }
        let mut rng = Rng::new(seed ^ number.wrapping_mul(0xA076_1D64_78BD_642F));
        let mut input = self.any(&mut rng).to_vec();
        let most = 1 << rng.below(4);
        for _ in 0..1 + rng.below(most) {
            self.change(&mut input, &mut rng);
            input.truncate(LONGEST);
        }
        input
    }

    fn any(&self, rng: &mut Rng) -> &[u8] {
        self.corpus.get(rng.below(self.corpus.len())).map_or(&[], Vec::as_slice)
    }

    fn change(&self, input: &mut Vec<u8>, rng: &mut Rng) {
        // Where formats say what is in them: at the beginning and at the end.
        let at = match rng.below(4) {
            0 => rng.below(input.len().min(64)),
            1 => input.len().saturating_sub(1 + rng.below(input.len().min(512))),
            _ => rng.below(input.len()),
        };
        let edge = EDGES[rng.below(EDGES.len())].wrapping_add(rng.below(3) as u64).wrapping_sub(1);
        match rng.below(11) {
            0 | 1 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << rng.below(8)),
            2 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte = rng.draw() as u8),
            3 => {
                let width = 1 << rng.below(4);
                let bytes = if rng.below(2) == 0 {
                    edge.to_le_bytes()
                } else {
                    edge.rotate_right(8 * width).to_be_bytes()
                };
                input.iter_mut().skip(at).zip(bytes).take(width as usize).for_each(|(to, byte)| *to = byte);
            }
            4 => drop(input.drain(rng.range(input.len(), 64))),
            5 => input.truncate(at),
            6 => {
                let again = input[rng.range(input.len(), 256)].to_vec();
                input.splice(at..at, again);
            }
            7 => {
                let other = self.any(rng);
                let part = other[rng.range(other.len(), 512)].to_vec();
                let end = if rng.below(2) == 0 { at } else { (at + part.len()).min(input.len()) };
                input.splice(at..end, part);
            }
            8 => {
                drop(input.splice(at..at, (0..rng.below(16)).map(|_| rng.draw() as u8).collect::<Vec<u8>>()))
            }
            9 => {
                // A number in text, in place of one that is there.
                let start = input.iter().skip(at).position(u8::is_ascii_digit).map_or(at, |found| at + found);
                let end = start + input.iter().skip(start).take_while(|byte| byte.is_ascii_digit()).count();
                input.splice(start..end, WORDS[rng.below(WORDS.len())].bytes());
            }
            _ => {
                // A line twice, or not at all.
                let start =
                    input.iter().take(at).rposition(|byte| *byte == b'\n').map_or(0, |found| found + 1);
                let end =
                    start + input.iter().skip(start).take(1 << 12).take_while(|byte| **byte != b'\n').count();
                let line: Vec<u8> = input.drain(start..(end + 1).min(input.len())).collect();
                if rng.below(2) == 0 {
                    let to = rng.below(input.len() + 1);
                    input.splice(to..to, line.repeat(2));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_repeat_and_differ() {
        let corpus = vec![b"one = 1\ntwo = 22\n".to_vec(), (0..=255).collect()];
        let inputs = |seed| -> Vec<Vec<u8>> {
            let mutator = Mutator::new(corpus.clone());
            (0..500).map(|number| mutator.input(seed, number)).collect()
        };
        assert_eq!(inputs(1)[..2], corpus);
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        let mut distinct = inputs(3);
        distinct.sort();
        distinct.dedup();
        // A change may undo itself, or cut all away.
        assert!(distinct.len() > 400, "{}", distinct.len());
        // Nothing to change is no panic.
        let empty = Mutator::new(vec![Vec::new()]);
        assert!((0..500).all(|number| empty.input(4, number).len() <= LONGEST));
    }
}
