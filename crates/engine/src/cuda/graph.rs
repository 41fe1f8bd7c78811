//! Steps as CUDA graphs: what is asked for within a scope is recorded and handed to the device in one piece.
//!
//! A step is thousands of short kernels, and asking for one takes about as long as the shortest runs. The first scopes
//! run as they are (kernels are compiled on the way); from then on each is recorded, and as the next scope asks for the
//! same kernels with other numbers, the graph that is there is updated rather than built again. Scopes that differ, as steps
//! in which leap chains learn and steps in which they do not, have graphs of their own.
//! Reading a value ends the recording, as does writing one: what was recorded runs first.

use super::context::{Context, describe, lock};
use cudarc::driver::sys::{self, CUresult};
use std::sync::Mutex;

/// Scopes that run before any is recorded.
const WARM_UP: usize = 2;

/// Graphs that are kept of the recordings at one place of their scopes: of steps in two kinds, and of the last batches of epochs
/// where these run other kernels.
const KEPT: usize = 4;

/// Set to 0, everything is asked for one by one.
pub(super) const VARIABLE: &str = "MLAAN_CUDA_GRAPHS";

/// A graph that can be launched.
struct Executable(sys::CUgraphExec);

// SAFETY: a handle of the driver, used behind a mutex.
unsafe impl Send for Executable {}

/// See the module.
pub(super) struct Recorder {
    enabled: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Scopes begun so far.
    scopes: usize,
    /// Whether what is asked for is to be recorded, and whether it is being.
    armed: bool,
    recording: bool,
    /// Recordings of this scope so far, and the graphs of earlier scopes: in the order of their recordings, and of each by how
    /// many nodes it has, the last used last.
    recordings: usize,
    graphs: Vec<Vec<(usize, Executable)>>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        let enabled = std::env::var_os(VARIABLE).is_none_or(|v| v != "0");
        Recorder { enabled, state: Mutex::default() }
    }

    /// Begins a scope: what the device is asked for from here on is recorded.
    pub(super) fn begin(&self) {
        let mut state = lock(&self.state);
        state.scopes += 1;
        state.recordings = 0;
        state.armed = self.enabled && state.scopes > WARM_UP;
    }

    /// Ends a scope: what was recorded runs.
    pub(super) fn end(&self, context: &Context) {
        self.run(context);
        lock(&self.state).armed = false;
    }

    /// Called before anything that can be recorded.
    pub(super) fn record(&self, context: &Context) {
        let mut state = lock(&self.state);
        if state.armed && !state.recording {
            let mode = sys::CUstreamCaptureMode_enum::CU_STREAM_CAPTURE_MODE_RELAXED;
            // SAFETY: the stream lives as long as the context.
            let r = unsafe { sys::cuStreamBeginCapture_v2(context.stream, mode) };
            context.note("cuStreamBeginCapture", r);
            state.recording = r == CUresult::CUDA_SUCCESS;
        }
    }

    /// Called before anything that cannot be: what was recorded so far runs.
    pub(super) fn run(&self, context: &Context) {
        let mut state = lock(&self.state);
        if state.recording {
            state.recording = false;
            if let Err(message) = finish(&mut state, context) {
                context.fail(message);
            }
        }
    }

    /// Destroys the graphs.
    pub(super) fn clear(&self) {
        lock(&self.state).graphs.drain(..).flatten().for_each(|(_, graph)| graph.destroy());
    }
}

impl Executable {
    /// What still runs of it, the device keeps.
    fn destroy(self) {
        // SAFETY: made by `cuGraphInstantiateWithFlags`, destroyed once.
        let _ = unsafe { sys::cuGraphExecDestroy(self.0) };
    }
}

fn ok(call: &str, result: CUresult) -> Result<(), String> {
    if result == CUresult::CUDA_SUCCESS { Ok(()) } else { Err(describe(call, result)) }
}

/// A recorded graph, destroyed when done with.
struct Graph(sys::CUgraph);

impl Drop for Graph {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: from `cuStreamEndCapture`, destroyed once.
            let _ = unsafe { sys::cuGraphDestroy(self.0) };
        }
    }
}

fn finish(state: &mut State, context: &Context) -> Result<(), String> {
    let mut graph = Graph(std::ptr::null_mut());
    // SAFETY: the stream is recording.
    ok("cuStreamEndCapture", unsafe { sys::cuStreamEndCapture(context.stream, &raw mut graph.0) })?;
    if state.graphs.len() <= state.recordings {
        state.graphs.resize_with(state.recordings + 1, Vec::new);
    }
    let kept = &mut state.graphs[state.recordings];
    state.recordings += 1;
    let nodes = graph.nodes()?;
    let same = |(n, old): &(usize, Executable)| *n == nodes && update(old, &graph);
    let executable = match kept.iter().rposition(same) {
        Some(at) => kept.remove(at).1,
        None => instantiate(&graph)?,
    };
    if kept.len() >= KEPT {
        kept.remove(0).1.destroy();
    }
    let launched = executable.0;
    kept.push((nodes, executable));
    // SAFETY: an instantiated graph, and a stream that no longer records.
    ok("cuGraphLaunch", unsafe { sys::cuGraphLaunch(launched, context.stream) })
}

impl Graph {
    /// How many nodes it has.
    fn nodes(&self) -> Result<usize, String> {
        let mut nodes = 0;
        // SAFETY: a live graph and a place for the number; no nodes are asked for.
        ok("cuGraphGetNodes", unsafe { sys::cuGraphGetNodes(self.0, std::ptr::null_mut(), &raw mut nodes) })?;
        Ok(nodes)
    }
}

/// Gives an earlier graph the new one's numbers; false where it is another graph.
fn update(old: &Executable, graph: &Graph) -> bool {
    // SAFETY: plain numbers and null pointers are valid.
    let mut info: sys::CUgraphExecUpdateResultInfo = unsafe { std::mem::zeroed() };
    // SAFETY: both graphs are live; the place for the answer is ours.
    unsafe { sys::cuGraphExecUpdate_v2(old.0, graph.0, &raw mut info) == CUresult::CUDA_SUCCESS }
}

fn instantiate(graph: &Graph) -> Result<Executable, String> {
    let mut executable: sys::CUgraphExec = std::ptr::null_mut();
    // SAFETY: a live graph and a place for the answer.
    let r = unsafe { sys::cuGraphInstantiateWithFlags(&raw mut executable, graph.0, 0) };
    ok("cuGraphInstantiate", r).map(|()| Executable(executable))
}
