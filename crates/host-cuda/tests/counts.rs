//! Kernels whose traffic is known are counted so.
#![allow(clippy::unwrap_used, clippy::panic)]

mod machine;

use machine::{Kernel, Numbers, Stream, start};
use mlaan_host_cuda::counts::{Launch, VARIABLE, of_test};

/// The variable that says which body the counted process runs.
const BODY: &str = "MLAAN_TEST_COUNTS_BODY";
const THREADS: u32 = 64;
const BLOCKS: u32 = 2;

#[derive(Clone, Copy)]
#[repr(C)]
struct Args {
    from: u64,
    to: u64,
    n: u64,
}

#[test]
#[ignore = "is told what to run by those below"]
fn counted() {
    assert!(start() && std::env::var_os(VARIABLE).is_some());
    let body = std::env::var(BODY).unwrap();
    let kernel = Kernel::new(&format!(
        "struct Args {{ const unsigned *from; unsigned *to; unsigned long long n; }};
         KERNEL(test, Args, 1024) {{
             unsigned i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32, *s = (unsigned *)shared_memory();
             {body}
         }}"
    ));
    let count = 80 * (BLOCKS * THREADS) as usize;
    let (stream, from, to) = (Stream::new(), Numbers::new(count), Numbers::new(count));
    let args = Args { from: from.address, to: to.address, n: 5 };
    kernel.launch(&stream, [BLOCKS, 1, 1], THREADS, 32 << 10, args).unwrap();
    assert_eq!(to.read(&stream).len(), count);
}

/// What a body asks for, in two blocks of two warps; nothing where there is no compiler.
fn launch(body: &str) -> Option<Launch> {
    if !start() {
        return None;
    }
    let launches = of_test("counted", &[(BODY, body)]).unwrap();
    let [launch] = &launches[..] else { panic!("{launches:#?}") };
    assert_eq!((launch.kernel.as_str(), launch.grid, launch.threads), ("test", [BLOCKS, 1, 1], THREADS));
    Some(launch.clone())
}

/// Instructions, lanes, units and the least of them.
fn numbers(a: mlaan_host_cuda::counts::Accesses) -> [u64; 4] {
    [a.instructions, a.lanes, a.units, a.least]
}

#[test]
fn neighbours_share_sectors() {
    let Some(copy) = launch("a.to[i] = a.from[i];") else { return };
    // Four warps, each of which reads 128 bytes.
    assert_eq!(numbers(copy.global_load), [4, 128, 16, 16]);
    assert_eq!(copy.global_store, copy.global_load);
    assert_eq!((copy.global_load.launch_least, copy.shared_memory().instructions, copy.barriers), (16, 0, 0));
}

#[test]
fn strides_take_a_sector_a_lane() {
    let Some(copy) = launch("a.to[i] = a.from[8 * i];") else { return };
    assert_eq!(numbers(copy.global_load), [4, 128, 128, 16]);
    assert!((copy.global_load.of_least() - 8.0).abs() < 1e-9);
    assert_eq!(copy.global_store.units, 16);
}

#[test]
fn sixteen_bytes_are_one_access() {
    let Some(copy) = launch("((uint4 *)a.to)[i] = ((const uint4 *)a.from)[i];") else { return };
    assert_eq!(numbers(copy.global_load), [4, 128, 64, 64]);
    assert_eq!(copy.global_store, copy.global_load);
    let Some(made) = launch("((float4 *)a.to)[i] = float4{1.0f, 2.0f, 3.0f, (float)i};") else { return };
    assert_eq!(numbers(made.global_store), [4, 128, 64, 64]);
}

#[test]
fn what_all_read_is_the_least_but_not_of_the_launch() {
    let Some(copy) = launch("a.to[i] = a.from[lane / 8 * 8];") else { return };
    // Four lanes' words of four sectors; the warps read the same ones.
    assert_eq!(numbers(copy.global_load), [4, 128, 16, 4]);
    assert_eq!(copy.global_load.launch_least, 1);
}

#[test]
fn lanes_that_go_apart_meet_again() {
    // In each round half of the lanes have nothing to read, another half each time; the rounds must not mix.
    let body = "unsigned sum = 0;
                for (unsigned k = 0; k < a.n; k++)
                    if ((lane / 16 + k) % 2) sum += a.from[k * 128 + i];
                a.to[i] = sum;";
    let Some(found) = launch(body) else { return };
    assert_eq!(numbers(found.global_load), [4 * 5, 64 * 5, 8 * 5, 8 * 5]);
    // Neither within a function that is called.
    let called = "auto sum = [&](unsigned k) __attribute__((noinline)) {
                      unsigned v = 0;
                      if ((lane / 16 + k) % 2) v += a.from[k * 128 + i];
                      return v + a.from[64 * 128 + 8 * i];
                  };
                  unsigned total = 0;
                  for (unsigned k = 0; k < a.n; k++) total += sum(k);
                  a.to[i] = total;";
    let Some(found) = launch(called) else { return };
    assert_eq!(numbers(found.global_load), [4 * 10, 64 * 15, (8 + 128) * 5, (8 + 16) * 5]);
    // Lanes that leave a loop wait for the others.
    let uneven =
        "unsigned sum = 0; for (unsigned k = 0; k <= lane; k++) sum += a.from[k * 128 + i]; a.to[i] = sum;";
    let Some(found) = launch(uneven) else { return };
    assert_eq!(numbers(found.global_load)[..2], [4 * 32, 4 * 33 * 16]);
    assert_eq!(numbers(found.global_store), [4, 128, 16, 16]);
}

#[test]
fn banks_conflict() {
    let shared = |index: &str| launch(&format!("s[{index}] = i; __syncthreads(); a.to[i] = s[{index}];"));
    let Some(none) = shared("threadIdx.x") else { return };
    assert_eq!(numbers(none.shared_store), [4, 128, 4, 4]);
    assert_eq!((none.shared_load, none.barriers), (none.shared_store, 2));
    // Lanes 16 apart share a bank.
    assert_eq!(numbers(shared("2 * threadIdx.x").unwrap().shared_load), [4, 128, 8, 4]);
    assert_eq!(numbers(shared("32 * threadIdx.x").unwrap().shared_load), [4, 128, 128, 4]);
    assert_eq!(numbers(shared("33 * threadIdx.x").unwrap().shared_load), [4, 128, 4, 4]);
    // A word that all read is read once.
    assert_eq!(numbers(shared("0").unwrap().shared_load), [4, 128, 4, 4]);
}

#[test]
fn sixteen_bytes_come_in_quarters_of_a_warp() {
    let wide = |index: &str| launch(&format!("((uint4 *)s)[{index}] = uint4{{i, i, i, i}}; a.to[i] = 0;"));
    let Some(row) = wide("threadIdx.x") else { return };
    assert_eq!(numbers(row.shared_store), [4, 128, 16, 16]);
    // Eight lanes 128 bytes apart all want the same four banks.
    assert_eq!(numbers(wide("8 * threadIdx.x").unwrap().shared_store), [4, 128, 128, 16]);
    // Padded by 16 bytes.
    assert_eq!(numbers(wide("9 * threadIdx.x").unwrap().shared_store), [4, 128, 16, 16]);
}

#[test]
fn neighbouring_words_of_shared_memory_are_one_access() {
    let sum = |from: &str| {
        launch(&format!("unsigned v = 0; for (int k = 0; k < 8; k++) v += {from}; a.to[i] = v;"))
    };
    let Some(shared) = sum("s[8 * threadIdx.x + k]") else { return };
    // Eight lanes 32 bytes apart want each bank for two of them.
    assert_eq!(numbers(shared.shared_load), [8, 256, 64, 32]);
    // Not where they begin off a multiple of 16, nor in global memory, whose alignment no compiler knows.
    assert_eq!(sum("s[9 * threadIdx.x + k]").unwrap().shared_load.instructions, 32);
    assert_eq!(sum("a.from[8 * i + k]").unwrap().global_load.instructions, 32);
}

#[test]
fn fixed_shared_memory_counts_and_local_arrays_do_not() {
    let body = "__shared__ unsigned fixed[64]; volatile unsigned local[4] = {i, i, i, i};
                fixed[threadIdx.x] = local[lane % 4]; __syncthreads(); a.to[i] = fixed[63 - threadIdx.x];";
    let Some(found) = launch(body) else { return };
    assert_eq!(numbers(found.shared_store), [4, 128, 4, 4]);
    assert_eq!(numbers(found.shared_load), [4, 128, 4, 4]);
    assert_eq!(numbers(found.global_load), [0; 4]);
}

#[test]
fn idle_lanes_are_counted() {
    let Some(found) = launch("if (lane < 8) a.to[i] = a.from[i];") else { return };
    assert_eq!(numbers(found.global_load), [4, 32, 4, 4]);
}

#[test]
fn asynchronous_copies_are_loads_and_stores() {
    let body = "copy_async_16(s + 4 * threadIdx.x, a.from + 4 * i, lane < 16); copy_async_commit(); copy_async_wait<0>();
                __syncthreads(); a.to[i] = s[threadIdx.x];";
    let Some(found) = launch(body) else { return };
    assert_eq!(numbers(found.global_load), [4, 64, 32, 32]);
    assert_eq!(numbers(found.shared_store), [4, 128, 16, 16]);
}

#[test]
fn exchanges_are_counted_by_their_bytes() {
    let Some(found) = launch("a.to[i] = __shfl_xor_sync(~0u, i, 1); a.to[i] += __shfl_sync(~0u, 1.0, 3);")
    else {
        return;
    };
    assert_eq!(found.exchanges.into_iter().collect::<Vec<_>>(), [(4, 4), (8, 4)]);
}

#[test]
fn what_a_warp_combines_is_not_counted() {
    let body = "a.to[i] = warp_combine<unsigned>(i, [](Boxes values, Boxes shares) {
                    for (unsigned lane = 0; lane < 32; lane++) memcpy(shares[lane], values[lane], 4);
                });";
    let (Some(found), Some(plain)) = (launch(body), launch("a.to[i] = i;")) else { return };
    assert!(found.exchanges.is_empty(), "{:?}", found.exchanges);
    assert_eq!(numbers(found.global_store), numbers(plain.global_store));
}
