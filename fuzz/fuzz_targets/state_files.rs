//! The files of the run folder and the state folder.
#![cfg_attr(fuzzing, no_main)]

linkspan_fuzz::target!(linkspan_fuzz::state::Files);
