//! The kernel's answers to every question that is asked of it.
#![cfg_attr(fuzzing, no_main)]

linkspan_fuzz::target!(linkspan_fuzz::replies::Replies);
