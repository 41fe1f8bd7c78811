//! Training: the schedule, and what a run writes.
