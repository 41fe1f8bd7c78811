//! Commands beside the thread of Python that waits for them: it holds no lock meanwhile, hears what they tell, and hands over Ctrl-C.
//!
//! What has something to save is waited for until it has. Anything else is left after a moment ([`left`](crate::left)): reading
//! images or planning may take long.

use crate::ending::Ending;
use crate::errors::{Error, raised};
use crate::images::Images;
use crate::interpreter;
use crate::left::{self, Left};
use crate::messages::{BEGUN, Message, Teller};
use mlaan::data::Given;
use mlaan_cli::{Failure, Reason};
use pyo3::prelude::*;
use std::ffi::OsString;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time after which signals are looked for, at the latest.
const AWAKE: Duration = Duration::from_millis(50);
/// Time in which what has nothing to save may end by itself, once it was asked to.
const GRACE: Duration = Duration::from_millis(300);
/// Stack of the thread that a command runs on: as that of a program's first.
const STACK: usize = 8 << 20;

/// Calls that compute at the moment.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
/// Whether this process was forked while another one computed, whose threads and locks it has no more.
static FORKED: AtomicBool = AtomicBool::new(false);

/// A call that computes.
pub struct Running;

impl Running {
    /// Begins one.
    ///
    /// # Errors
    /// In a process that was forked in the midst of another.
    pub fn begin() -> PyResult<Self> {
        if FORKED.load(Ordering::SeqCst) {
            return Err(Error::new_err(
                "this process was forked while mlaan was computing, and has none of its threads: start processes with \
                 multiprocessing.get_context(\"spawn\"), or fork before",
            ));
        }
        RUNNING.fetch_add(1, Ordering::SeqCst);
        Ok(Running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A process that was forked has none, whatever it holds of its parent's.
        let _ = RUNNING.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
    }
}

/// To be called in a process that was forked.
#[pyfunction]
pub fn after_fork() {
    interpreter::after_fork();
    left::after_fork();
    if RUNNING.swap(0, Ordering::SeqCst) > 0 {
        FORKED.store(true, Ordering::SeqCst);
    }
}

/// The command line: does what `args` say, of which the first is the program's name; returns the status to end with.
#[pyfunction]
#[pyo3(signature = (args))]
pub fn main(py: Python<'_>, args: Vec<OsString>) -> PyResult<u8> {
    let _running = Running::begin()?;
    Ok(py.detach(|| mlaan_cli::main(&args)))
}

/// Runs a command with `args`, of which the first is its name, and returns what it prints.
///
/// `on_message(kind, text)` is called in this thread with what it tells: `print`, `note`, `begun` (a folder), as JSON `step`,
/// `evaluating` and `event`, and `ended` when all was done. `train`, `validation` and `test` are images that stand in for the path
/// `(given)`. Ctrl-C, and what `on_message` raises, stop it: a run saves first, if it has begun.
#[pyfunction]
#[pyo3(signature = (args, on_message, *, name="own", train=None, validation=None, test=None))]
#[allow(clippy::too_many_arguments, reason = "Python's keywords")]
pub fn call(
    py: Python<'_>,
    args: Vec<OsString>,
    on_message: Py<PyAny>,
    name: &str,
    train: Option<&Images>,
    validation: Option<&Images>,
    test: Option<&Images>,
) -> PyResult<String> {
    let running = Running::begin()?;
    let ending = Ending::default();
    let split = |images: &Images| ending.images(images.data());
    let given = train.map(|train| Given {
        name: name.to_owned(),
        format: "given by a program",
        train: split(train),
        validation: validation.map(split),
        test: test.map(split),
    });
    let (sender, receiver) = channel();
    let asked = ending.clone();
    let work = move || {
        let _running = running;
        let teller = Rc::new(Teller::new(sender, &asked, given));
        mlaan_cli::call(teller.clone(), &args).map(|()| teller.printed())
    };
    let named = std::thread::Builder::new().name("mlaan".into()).stack_size(STACK);
    let worker = named.spawn(work).map_err(|e| Error::new_err(format!("no thread could be started: {e}")))?;
    let images: Vec<&Images> = [train, validation, test].into_iter().flatten().collect();
    // Of a call before.
    images.iter().for_each(|images| drop(images.raised()));
    let call = Left { ending, work: worker, saves: false };
    watch(py, (call, Mutex::new(receiver)), &images, &on_message)
}

/// Waits for the work and hands messages and signals on.
fn watch(
    py: Python<'_>,
    (mut call, messages): (Left, Mutex<Receiver<Message>>),
    images: &[&Images],
    on_message: &Py<PyAny>,
) -> PyResult<String> {
    // What stops it, and when it did.
    let mut why: Option<(PyErr, Instant)> = None;
    loop {
        let next = || messages.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(AWAKE);
        match py.detach(next) {
            Ok((kind, text)) => {
                call.saves |= kind == BEGUN;
                if let Err(e) = on_message.call1(py, (kind, text)) {
                    call.ending.stop.store(true, Ordering::SeqCst);
                    // The first is raised; of others Python is told as of what nobody can catch.
                    match why {
                        None => why = Some((e, Instant::now())),
                        Some(_) => e.write_unraisable(py, None),
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if let Err(e) = py.check_signals() {
            call.ending.stop.store(true, Ordering::SeqCst);
            if why.is_some() {
                // Asked for twice: what still saves goes on by itself.
                left::leave(call);
                return Err(e);
            }
            why = Some((e, Instant::now()));
        }
        match why {
            Some((e, at)) if !call.saves && at.elapsed() > GRACE => {
                left::leave(call);
                return Err(e);
            }
            before => why = before,
        }
    }
    let done = match py.detach(|| call.work.join()) {
        Ok(Ok(printed)) => on_message.call1(py, ("ended", "")).map(|_| printed),
        Ok(Err(failure)) => Err(failed(py, &failure, images)),
        Err(panic) => {
            let said = panic.downcast_ref::<&str>().map(ToString::to_string);
            let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(Error::new_err(format!("a fault of mlaan itself: {said}")))
        }
    };
    match (why, done) {
        (Some((first, _)), Err(then)) if call.saves => Err(caused(py, first, then)),
        // What has nothing to save fails because it was stopped.
        (Some((first, _)), _) => Err(first),
        (None, done) => done,
    }
}

/// The exception of a failure; its cause is what images raised, if that was it.
fn failed(py: Python<'_>, failure: &Failure, images: &[&Images]) -> PyErr {
    let error = raised(py, failure);
    if failure.reason == Reason::Data
        && let Some(first) = images.iter().find_map(|images| images.raised())
    {
        error.set_cause(py, Some(first));
    }
    error
}

/// An exception that stopped a call, whose saving failed then: the last of its causes.
fn caused(py: Python<'_>, first: PyErr, then: PyErr) -> PyErr {
    match first.cause(py) {
        Some(cause) => first.set_cause(py, Some(caused(py, cause, then))),
        None => first.set_cause(py, Some(then)),
    }
    first
}
