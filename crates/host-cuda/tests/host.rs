//! The driver on the processor does what a GPU's does, and says what a GPU would not: a barrier that is missing.
#![allow(clippy::unwrap_used, clippy::panic)]

mod machine;

use cudarc::driver::sys::{self, CUfunction_attribute_enum as Attribute, CUresult};
use machine::{Kernel, Numbers, Stream, allocate, compile, free, ok, start};
use mlaan_host_cuda::shuffle_streams;
use std::process::Command;
use std::ptr::null_mut;

/// A kernel `test` that takes a pointer and a number.
fn kernel(body: &str) -> Kernel {
    Kernel::new(&format!(
        "struct Args {{ unsigned *out; unsigned long long n; }};\nKERNEL(test, Args, 1024) {{ {body} }}"
    ))
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Args {
    out: u64,
    n: u64,
}

/// What `blocks` of `threads` leave in as many numbers.
fn run(kernel: Kernel, blocks: u32, threads: u32) -> Vec<u32> {
    let (stream, out) = (Stream::new(), Numbers::new((blocks * threads) as usize));
    let args = Args { out: out.address, n: u64::from(threads) };
    kernel.launch(&stream, [blocks, 1, 1], threads, threads * 4, args).unwrap();
    out.read(&stream)
}

/// Every thread leaves what its neighbour wrote, with or without a barrier between.
fn neighbours(barrier: &str) -> Kernel {
    kernel(&format!(
        "unsigned *s = (unsigned *)shared_memory(), i = threadIdx.x, at = blockIdx.x * a.n + i;
         s[i] = 1000 * blockIdx.x + i;
         {barrier}
         a.out[at] = s[(i + 1) % a.n];"
    ))
}

#[test]
fn threads_meet_at_barriers() {
    if !start() {
        return;
    }
    for (blocks, threads) in [(1, 1), (7, 33), (3, 1000), (2, 1024)] {
        let found = run(neighbours("__syncthreads();"), blocks, threads);
        let expected = (0..blocks).flat_map(|b| (0..threads).map(move |i| 1000 * b + (i + 1) % threads));
        assert_eq!(found, expected.collect::<Vec<u32>>(), "{blocks} x {threads}");
    }
}

#[test]
fn lanes_exchange_values() {
    if !start() {
        return;
    }
    let sums = kernel(
        "unsigned v = threadIdx.x;
         for (unsigned by = 16; by > 0; by /= 2) v += __shfl_xor_sync(~0u, v, by);
         unsigned next = __shfl_down_sync(~0u, threadIdx.x, 1), first = __shfl_sync(~0u, threadIdx.x, 3);
         a.out[threadIdx.x] = v + 10000 * next + 1000000 * (first % 32);",
    );
    let expected = |i: u32| {
        let warp = i / 32 * 32;
        (warp..warp + 32).sum::<u32>() + 10_000 * (i + u32::from(i % 32 < 31)) + 3_000_000
    };
    assert_eq!(run(sums, 1, 96), (0..96).map(expected).collect::<Vec<u32>>());
}

#[test]
fn what_a_warp_combines_is_made_once_and_shared() {
    if !start() {
        return;
    }
    let sums = || {
        kernel(
            "unsigned v = threadIdx.x % 32, made = 0, *count = &made;
             for (unsigned round = 0; round < 3; round++) {
                 v = warp_combine<unsigned>(v, [=](Boxes values, Boxes shares) {
                     unsigned sum = 0;
                     for (unsigned lane = 0; lane < 32; lane++) sum += given<unsigned>(values, lane);
                     for (unsigned lane = 0; lane < 32; lane++) {
                         unsigned share = sum + lane;
                         memcpy(shares[lane], &share, sizeof(share));
                     }
                     ++*count;
                 });
                 v = __shfl_xor_sync(~0u, __shfl_xor_sync(~0u, v, 5), 5);
             }
             for (unsigned by = 16; by > 0; by /= 2) made += __shfl_xor_sync(~0u, made, by);
             a.out[blockIdx.x * a.n + threadIdx.x] = made == 3 ? v : made;",
        )
    };
    // Of each round the sum of the last and once more that of the lanes.
    let lanes: u32 = (0..32).sum();
    let last = [0; 2].iter().fold(lanes, |sum, _| 32 * sum + lanes);
    let expected: Vec<u32> = (0..2 * 96).map(|i| last + i % 96 % 32).collect();
    // Each launch has its threads in another order.
    for _ in 0..3 {
        assert_eq!(run(sums(), 2, 96), expected);
    }
}

/// Runs a test of this file in a process of its own, in an order of threads; whether it succeeded, and what it said.
fn alone(test: &str, order: &str) -> (bool, String) {
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new(this);
    command.args(["--exact", test, "--nocapture", "--ignored"]).env("MLAAN_HOST_CUDA_ORDER", order);
    let out = command.output().unwrap();
    (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
#[ignore = "fails: it is what `a_missing_barrier_shows` looks for"]
fn neighbours_without_a_barrier() {
    assert!(start());
    let expected: Vec<u32> = (0..64).map(|i| (i + 1) % 64).collect();
    assert_eq!(run(neighbours(""), 1, 64), expected);
}

#[test]
fn a_missing_barrier_shows() {
    if !start() {
        return;
    }
    for order in ["forward", "reverse", "shuffle"] {
        let (passed, said) = alone("neighbours_without_a_barrier", order);
        assert!(!passed && said.contains("left == right"), "{order}: {said}");
    }
}

#[test]
#[ignore = "ends its process' driver: `a_barrier_for_some_is_an_error` runs it"]
fn half_of_a_block_waits() {
    assert!(start());
    let half = kernel("if (threadIdx.x < 32) __syncthreads(); a.out[threadIdx.x] = 1;");
    let (stream, out) = (Stream::new(), Numbers::new(64));
    let failed = Err(CUresult::CUDA_ERROR_LAUNCH_FAILED);
    let launch = || half.launch(&stream, [1; 3], 64, 0, Args { out: out.address, n: 64 });
    // What failed stays failed.
    assert_eq!([launch(), launch(), stream.synchronize()], [failed; 3]);
}

#[test]
fn a_barrier_for_some_is_an_error() {
    if !start() {
        return;
    }
    let (passed, said) = alone("half_of_a_block_waits", "forward");
    assert!(passed && said.contains("__syncthreads is not reached by all threads"), "{said}");
}

#[test]
#[ignore = "ends its process: `shared_memory_ends_where_it_was_asked_to` runs it"]
fn beyond_shared_memory() {
    assert!(start());
    let beyond = kernel("((unsigned *)shared_memory())[128] = 1; a.out[0] = 1;");
    let (stream, out) = (Stream::new(), Numbers::new(1));
    beyond.launch(&stream, [1; 3], 1, 512, Args { out: out.address, n: 1 }).unwrap();
}

#[test]
fn shared_memory_ends_where_it_was_asked_to() {
    if start() {
        assert!(!alone("beyond_shared_memory", "forward").0);
    }
}

#[test]
fn shared_memory_is_no_number_at_first() {
    if start() {
        let first = kernel("float v = ((float *)shared_memory())[threadIdx.x]; a.out[threadIdx.x] = v != v;");
        assert_eq!(run(first, 1, 40), [1; 40]);
    }
}

#[test]
fn launches_have_limits() {
    if !start() {
        return;
    }
    let (one, stream, out) = (kernel("a.out[0] = a.n;"), Stream::new(), Numbers::new(1));
    let args = Args { out: out.address, n: 5 };
    let refused = Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    for (grid, threads, shared) in [
        ([1, 1, 1], 1025, 0),
        ([1, 1, 1], 0, 0),
        ([0, 1, 1], 1, 0),
        ([1, 65_536, 1], 1, 0),
        ([1, 1, 1], 1, (48 << 10) + 1),
    ] {
        assert_eq!(one.launch(&stream, grid, threads, shared, args), refused, "{grid:?} {threads} {shared}");
    }
    let most = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    // SAFETY: a live function.
    let ask = |bytes| ok(unsafe { sys::cuFuncSetAttribute(one.0, most, bytes) });
    assert_eq!(ask((227 << 10) + 1), refused);
    ask(227 << 10).unwrap();
    one.launch(&stream, [1; 3], 1, 227 << 10, args).unwrap();
    assert_eq!(out.read(&stream), [5]);
}

#[test]
fn recordings_run_when_they_are_launched() {
    if !start() {
        return;
    }
    let (add, stream, out) = (kernel("a.out[0] += a.n;"), Stream::new(), Numbers::new(1));
    let record = |values: &[u64]| {
        let mut graph = null_mut();
        // SAFETY: a live stream and places for the answers.
        unsafe {
            ok(sys::cuMemsetD8Async(out.address, 0, 4, stream.0)).unwrap();
            ok(sys::cuStreamBeginCapture_v2(
                stream.0,
                sys::CUstreamCaptureMode_enum::CU_STREAM_CAPTURE_MODE_RELAXED,
            ))
            .unwrap();
            for n in values {
                add.launch(&stream, [1; 3], 1, 0, Args { out: out.address, n: *n }).unwrap();
            }
            ok(sys::cuStreamEndCapture(stream.0, &raw mut graph)).unwrap();
        }
        graph
    };
    let first = record(&[1, 20]);
    assert_eq!(out.read(&stream), [0]);
    let mut executable = null_mut();
    // SAFETY: live handles; an answer that is all zeros is valid.
    unsafe {
        ok(sys::cuGraphInstantiateWithFlags(&raw mut executable, first, 0)).unwrap();
        let launch = || ok(sys::cuGraphLaunch(executable, stream.0)).unwrap();
        launch();
        launch();
        assert_eq!(out.read(&stream), [42]);
        let mut info = std::mem::zeroed();
        let mut update = |graph| sys::cuGraphExecUpdate_v2(executable, graph, &raw mut info);
        ok(update(record(&[300, 4]))).unwrap();
        launch();
        assert_eq!(out.read(&stream), [304]);
        assert_eq!(update(record(&[1])), CUresult::CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    }
}

#[test]
fn waiting_ends_a_recording() {
    if !start() {
        return;
    }
    let (stream, mut graph) = (Stream::new(), null_mut());
    // SAFETY: a live stream and a place for the answer.
    unsafe {
        ok(sys::cuStreamBeginCapture_v2(
            stream.0,
            sys::CUstreamCaptureMode_enum::CU_STREAM_CAPTURE_MODE_RELAXED,
        ))
        .unwrap();
        assert_eq!(stream.synchronize(), Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED));
        let ended = sys::cuStreamEndCapture(stream.0, &raw mut graph);
        assert_eq!(ended, CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    }
}

#[test]
fn memory_is_limited() {
    if !start() {
        return;
    }
    let half = allocate(2 << 30).unwrap();
    assert_eq!(allocate((2 << 30) + 1), Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY));
    free(half);
    free(allocate((2 << 30) + 1).unwrap());
}

#[test]
fn a_compiler_says_what_is_wrong() {
    if start() {
        let said = compile("KERNEL(test, Nothing, 32) {}").unwrap_err();
        assert!(said.contains("Nothing") && said.contains("test.cu"), "{said}");
    }
}

/// One stream writes a number that two others copy, of which the second waits for an event behind the write: which of the two copies
/// came behind it.
fn copied(seed: u64, leaving_out: Option<(i32, i32)>) -> (bool, bool) {
    shuffle_streams(Some(seed), leaving_out).unwrap();
    let [first, second, third] = [(); 3].map(|()| Stream::new());
    let [number, copy, other] = [(); 3].map(|()| Numbers::new(1));
    let mut event = null_mut();
    // SAFETY: live streams, memory of their device, and an event that is destroyed when nothing waits for it.
    unsafe {
        ok(sys::cuEventCreate(&raw mut event, 2)).unwrap();
        for n in [&number, &copy, &other] {
            ok(sys::cuMemsetD8Async(n.address, 0, 4, first.0)).unwrap();
        }
        first.synchronize().unwrap();
        ok(sys::cuMemsetD8Async(number.address, 1, 4, first.0)).unwrap();
        ok(sys::cuEventRecord(event, first.0)).unwrap();
        ok(sys::cuMemcpyDtoDAsync_v2(other.address, number.address, 4, third.0)).unwrap();
        ok(sys::cuStreamWaitEvent(second.0, event, 0)).unwrap();
        ok(sys::cuMemcpyDtoDAsync_v2(copy.address, number.address, 4, second.0)).unwrap();
    }
    [&first, &second, &third].into_iter().try_for_each(Stream::synchronize).unwrap();
    let found = (copy.read(&second)[0] == 0x0101_0101, other.read(&third)[0] == 0x0101_0101);
    // SAFETY: as above.
    ok(unsafe { sys::cuEventDestroy_v2(event) }).unwrap();
    shuffle_streams(None, None).unwrap();
    found
}

/// Alone in its process: others of this file make streams, too, and streams are known by their numbers.
#[test]
#[ignore = "needs a process of its own: `streams_take_all_orders_that_events_allow` runs it"]
fn streams_and_events() {
    assert!(start());
    let found: Vec<_> = (0..64).map(|seed| copied(seed, None)).collect();
    assert!(found.iter().all(|(behind, _)| *behind), "an event is kept");
    assert!(
        [true, false].iter().all(|w| found.iter().any(|(_, other)| other == w)),
        "both orders without one"
    );
    assert_eq!((0..64).map(|seed| copied(seed, None)).collect::<Vec<_>>(), found, "a seed is an order");
    assert!((0..64).any(|seed| !copied(seed, Some((1, 0))).0), "a wait that is left out shows");
    assert!((0..64).all(|seed| copied(seed, Some((2, 0))).0), "another one does not");
}

#[test]
fn streams_take_all_orders_that_events_allow() {
    if start() {
        let (passed, said) = alone("streams_and_events", "forward");
        assert!(passed, "{said}");
    }
}
