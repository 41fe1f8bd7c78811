//! Several ranks. Without MPI: that a launcher's ranks are refused. With it (`--features mpi`, and mpirun): the same bits as one
//! process, and how a job ends.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

#[cfg(not(feature = "mpi"))]
#[test]
fn a_program_without_mpi_refuses_several_ranks() {
    let at = tempfile::tempdir().unwrap();
    for (size, rank) in [
        ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
        ("PMI_SIZE", "PMI_RANK"),
        ("SLURM_NTASKS", "PMIX_RANK"),
    ] {
        let mut command = common::mlaan(at.path(), &common::train(&["--out", "run"]));
        let out = command.env(size, "2").env(rank, "1").output().unwrap();
        let message = common::text(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{message}");
        assert!(
            message.contains(&format!("2 ranks ({size}=2)")) && message.contains("--features mpi"),
            "{message}"
        );
        let out = command.env(size, "1").env(rank, "0").args(["--resume", "--quiet"]).output().unwrap();
        assert!(out.status.success(), "one rank is one process: {}", common::text(&out.stderr));
    }
    // A batch job's script is no rank.
    let mut command = common::mlaan(at.path(), &common::train(&["--out", "script", "--quiet"]));
    assert!(command.env("SLURM_NTASKS", "8").output().unwrap().status.success());
}

#[test]
fn one_process_divides_no_modules() {
    let at = tempfile::tempdir().unwrap();
    let out = common::mlaan(at.path(), &common::train(&["--rank-modules", "2,2"])).output().unwrap();
    let message = common::text(&out.stderr);
    assert!(!out.status.success() && message.contains("this is one process: start several"), "{message}");
    let out = common::mlaan(at.path(), &common::train(&["--rank-modules", "2,0"])).output().unwrap();
    assert!(common::text(&out.stderr).contains("as 6,5,5"), "{}", common::text(&out.stderr));
}

#[cfg(all(feature = "mpi", target_os = "linux"))]
#[path = "several_ranks/mpi.rs"]
mod mpi;
