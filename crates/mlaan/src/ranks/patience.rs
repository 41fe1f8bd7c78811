//! How long ranks wait.

use std::time::Duration;

/// How long a rank waits for what. Where signs of life are sent ([`World::watch`](super::World::watch)), times are counted in
/// them: a process that is stopped, or a machine that sleeps, loses no patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Between two signs of life.
    pub beat: Duration,
    /// A rank that is not heard of for so long is stopped, or its machine is lost. Where no rank is at work for twice as long,
    /// they wait for each other.
    pub silence: Duration,
    /// A piece of a step's work that takes so long hangs, unless another has taken a tenth of that before.
    pub stuck: Duration,
    /// As `stuck`, for the first pieces of work, and for an evaluation's: more where the network is large
    /// ([`World::expects`](super::World::expects)).
    pub first: Duration,
    /// As `stuck`, for all other work.
    pub slow: Duration,
    /// Without signs of life, what is waited for comes within this time.
    pub all: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            beat: Duration::from_secs(2),
            silence: Duration::from_secs(15),
            stuck: Duration::from_secs(20),
            first: Duration::from_secs(20),
            slow: Duration::from_secs(60),
            all: Duration::from_secs(3600),
        }
    }
}

/// Operations a second that the slowest processor has, which shares its cores with others, and the slowest GPU.
const SLOWEST: [f64; 2] = [5e8, 1e11];
/// What a GPU takes at the most to compile its kernels.
const COMPILING: Duration = Duration::from_secs(120);

/// The longest that the first pieces of a step of so many operations may take.
pub fn first_steps(flops: u64, is_gpu: bool) -> Duration {
    let compiling = if is_gpu { COMPILING } else { Duration::ZERO };
    Patience::default().first.max(Duration::from_secs_f64(flops as f64 / SLOWEST[usize::from(is_gpu)]))
        + compiling
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_networks_may_take_longer_to_begin() {
        let s = Duration::from_secs;
        assert_eq!(first_steps(1_000_000, false), s(20));
        assert_eq!(first_steps(1_000_000, true), s(140));
        assert_eq!(first_steps(100_000_000_000, false), s(200));
    }
}
