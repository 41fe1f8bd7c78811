//! What the C library's allocator keeps for itself.

/// Lets all threads share one arena of the allocator. glibc otherwise sets 64 MiB of address space aside for every
/// thread: nothing where it is plenty, too much under `ulimit -v`. To be called before there are other threads. Does
/// nothing with other C libraries.
pub fn share_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// `M_ARENA_MAX` of `malloc.h`.
        const ARENA_MAX: std::ffi::c_int = -8;
        unsafe extern "C" {
            fn mallopt(parameter: std::ffi::c_int, value: std::ffi::c_int) -> std::ffi::c_int;
        }
        // SAFETY: glibc has this function with this signature (mallopt(3)); it takes plain numbers and locks what it
        // changes. A parameter that it does not know is refused by its result, which does not matter here.
        unsafe { mallopt(ARENA_MAX, 1) };
    }
}

/// Gives memory back to the system that was freed but lies between blocks in use: glibc keeps it otherwise, and a large
/// passing need, as that of loading a set, stands beside all that follows. Does nothing with other C libraries.
pub fn give_back_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        // SAFETY: glibc has this function with this signature (malloc_trim(3)); it locks what it changes, and blocks in use
        // stay where they are.
        unsafe { malloc_trim(0) };
    }
}
