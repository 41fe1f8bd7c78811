//! Outside code that may panic over damaged files: its panics are results here, and nobody else hears of them.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether this thread is in such code.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What `work` gives; none where it panics. No panic message is printed.
///
/// The process's panic hook is wrapped once, and goes on to hear of all other panics, also those of other threads meanwhile.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    static WRAPPED: Once = Once::new();
    // A panicking thread may not set hooks; what it runs while it unwinds is then heard.
    if !std::thread::panicking() {
        WRAPPED.call_once(|| {
            let usual = take_hook();
            set_hook(Box::new(move |panic| {
                if !QUIET.try_with(Cell::get).unwrap_or(false) {
                    usual(panic);
                }
            }));
        });
    }
    let before = QUIET.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    done.ok()
}
