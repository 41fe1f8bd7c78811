//! A simulated kill, for tests: after a given number of steps every further step fails, and nothing cleans
//! up, as after SIGKILL. Outside tests this compiles to nothing.

pub(crate) use hook::*;

#[cfg(not(test))]
mod hook {
    pub(crate) fn step() -> std::io::Result<()> {
        Ok(())
    }

    pub(crate) fn killed() -> bool {
        false
    }
}

#[cfg(test)]
mod hook {
    use std::cell::Cell;

    thread_local! {
        static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    }

    /// One step; fails once the run is killed.
    pub(crate) fn step() -> std::io::Result<()> {
        match LEFT.get() {
            Some(0) => Err(std::io::Error::other("killed")),
            Some(n) => {
                LEFT.set(Some(n - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(crate) fn killed() -> bool {
        LEFT.get() == Some(0)
    }

    /// Runs `work`, killed after `steps` steps on this thread.
    pub(crate) fn kill_at<T>(steps: usize, work: impl FnOnce() -> T) -> T {
        LEFT.set(Some(steps));
        let result = work();
        LEFT.set(None);
        result
    }
}
