//! Asynchronous copies arrive at the wait for their group, no sooner: what reads them without a wait or a barrier shows.
#![allow(clippy::unwrap_used, clippy::panic)]

mod machine;

use cudarc::driver::sys::CUresult;
use machine::{Kernel, Numbers, Stream, start};

const POISON: u32 = u32::MAX;

#[derive(Clone, Copy)]
#[repr(C)]
struct Args {
    from: u64,
    to: u64,
}

/// What a kernel leaves of the numbers 0, 1, ..., four a thread, which lie at `a.from`, at `a.to`.
fn run(threads: u32, body: &str) -> Result<Vec<u32>, CUresult> {
    let source = |body: &str| {
        format!(
            "struct Args {{ const unsigned *from; unsigned *to; }};\nKERNEL(test, Args, 1024) {{ {body} }}"
        )
    };
    let (stream, count) = (Stream::new(), 4 * threads as usize);
    let (from, to) = (Numbers::new(count), Numbers::new(count));
    let args = Args { from: from.address, to: to.address };
    let fill =
        "for (unsigned k = 0; k < 4; k++) ((unsigned *)a.from)[4 * threadIdx.x + k] = 4 * threadIdx.x + k;";
    Kernel::new(&source(fill)).launch(&stream, [1; 3], threads, 0, args).unwrap();
    let names = "unsigned *s = (unsigned *)shared_memory(), i = threadIdx.x;";
    let kernel = Kernel::new(&source(&format!("{names}\n{body}")));
    // Room for two stages.
    kernel.launch(&stream, [1; 3], threads, 32 * threads, args)?;
    Ok(to.read(&stream))
}

/// Takes a thread's own four numbers from shared memory.
const OWN: &str = "for (unsigned k = 0; k < 4; k++) a.to[4 * i + k] = s[4 * i + k];";

#[test]
fn copies_arrive_at_the_wait() {
    if start() {
        let own =
            "copy_async_16(s + 4 * i, a.from + 4 * i, true); copy_async_commit(); copy_async_wait<0>();";
        assert_eq!(run(33, &format!("{own} {OWN}")).unwrap(), (0..132).collect::<Vec<u32>>());
    }
}

#[test]
fn what_is_not_waited_for_is_no_number() {
    if !start() {
        return;
    }
    let copy = "copy_async_16(s + 4 * i, a.from + 4 * i, true);";
    for lacking in [
        "",
        "copy_async_commit();",
        // Copies after the last group is closed are in none that is waited for.
        "copy_async_wait<0>();",
        "copy_async_commit(); copy_async_wait<1>();",
    ] {
        assert_eq!(run(8, &format!("{copy} {lacking} {OWN}")).unwrap(), [POISON; 32], "{lacking}");
    }
}

#[test]
fn a_wait_leaves_the_groups_that_were_closed_last() {
    if !start() {
        return;
    }
    let two = "for (unsigned k = 0; k < 2; k++) {
                   copy_async_16(s + 8 * i + 4 * k, a.from + 4 * i, true);
                   copy_async_commit();
               }";
    let take =
        "a.to[4 * i] = s[8 * i]; a.to[4 * i + 1] = s[8 * i + 4]; a.to[4 * i + 2] = a.to[4 * i + 3] = 0;";
    let found = |waits: &str| run(8, &format!("{two} {waits} {take}")).unwrap();
    let expected = |first: fn(u32) -> u32, second: fn(u32) -> u32| -> Vec<u32> {
        (0..8).flat_map(|i| [first(4 * i), second(4 * i), 0, 0]).collect()
    };
    assert_eq!(found("copy_async_wait<2>();"), expected(|_| POISON, |_| POISON));
    assert_eq!(found("copy_async_wait<1>();"), expected(|i| i, |_| POISON));
    assert_eq!(found("copy_async_wait<1>(); copy_async_wait<0>();"), expected(|i| i, |i| i));
    // An empty group counts.
    assert_eq!(found("copy_async_commit(); copy_async_wait<1>();"), expected(|i| i, |i| i));
}

#[test]
fn what_is_not_valid_is_zero_and_not_read() {
    if start() {
        let beyond =
            "copy_async_16(s + 4 * i, i % 2 ? a.from + 4 * i : nullptr, i % 2); copy_async_commit();";
        let expected = (0..32).map(|i| if i / 4 % 2 == 1 { i } else { 0 });
        let found = run(8, &format!("{beyond} copy_async_wait<0>(); {OWN}")).unwrap();
        assert_eq!(found, expected.collect::<Vec<u32>>());
    }
}

#[test]
fn another_threads_copy_needs_a_barrier() {
    if !start() {
        return;
    }
    let copy = "copy_async_16(s + 4 * i, a.from + 4 * i, true); copy_async_commit(); copy_async_wait<0>();";
    let next = "for (unsigned k = 0; k < 4; k++) a.to[4 * i + k] = s[4 * ((i + 1) % 64) + k];";
    let expected: Vec<u32> = (0..256).map(|i| (i + 4) % 256).collect();
    assert_eq!(run(64, &format!("{copy} __syncthreads(); {next}")).unwrap(), expected);
    // Whatever the order of threads, some thread runs before its neighbour.
    for _ in 0..3 {
        assert!(run(64, &format!("{copy} {next}")).unwrap().contains(&POISON));
    }
}

#[test]
fn a_stage_that_is_filled_too_soon_shows() {
    if !start() {
        return;
    }
    // The next copy to a place that others still read.
    let body = |barrier: &str| {
        format!(
            "copy_async_16(s + 4 * i, a.from + 4 * i, true); copy_async_commit(); copy_async_wait<0>(); __syncthreads();
             unsigned v = s[4 * ((i + 1) % 64)];
             {barrier}
             copy_async_16(s + 4 * i, a.from + 4 * i, true); copy_async_commit();
             for (unsigned k = 0; k < 4; k++) a.to[4 * i + k] = v;"
        )
    };
    for _ in 0..3 {
        assert!(!run(64, &body("__syncthreads();")).unwrap().contains(&POISON));
        assert!(run(64, &body("")).unwrap().contains(&POISON));
    }
}

#[test]
#[ignore = "ends its process' driver: `addresses_are_multiples_of_16` runs it"]
fn a_copy_to_an_odd_address() {
    assert!(start());
    assert_eq!(
        run(8, "copy_async_16(s + 4 * i + 1, a.from + 4 * i, true);"),
        Err(CUresult::CUDA_ERROR_LAUNCH_FAILED)
    );
}

#[test]
fn addresses_are_multiples_of_16() {
    if !start() {
        return;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let out =
        command.args(["--exact", "a_copy_to_an_odd_address", "--nocapture", "--ignored"]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        out.status.success() && said.contains("copy_async_16 takes addresses that are multiples of 16"),
        "{said}"
    );
}
