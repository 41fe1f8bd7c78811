//! The choice between sets of kernels.

/// The variable that chooses between the sets of kernels.
const VARIABLE: &str = "MLAAN_CUDA_KERNELS";

/// Which kernels convolutions run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernels {
    /// Those that passed all tests on a GPU.
    Proved,
    /// Those of `specialised`, which have passed on the host driver only.
    New,
}

impl Kernels {
    /// As [`VARIABLE`] names them.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kernels::Proved => "proved",
            Kernels::New => "new",
        }
    }

    /// What [`VARIABLE`] says; proved ones without it.
    ///
    /// # Errors
    /// What else it can be.
    pub(super) fn chosen() -> Result<Self, String> {
        match std::env::var(VARIABLE).ok().as_deref() {
            None | Some("" | "proved") => Ok(Kernels::Proved),
            Some("new") => Ok(Kernels::New),
            Some(other) => Err(format!("{VARIABLE} is {other:?}; it can be `proved` or `new`")),
        }
    }
}
