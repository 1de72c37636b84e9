use super::*;

/// Reads a transcript; returns the summary, the skips and failures, and the lines that are shown.
fn check(transcript: &str, cargo_succeeded: bool, wanted: (&str, &str)) -> String {
    let mut reader = Transcript::new();
    let shown: Vec<&str> = transcript.lines().filter(|line| reader.read(line) == Show::Line).collect();
    let outcome = reader.end(cargo_succeeded);
    assert_eq!((outcome.to_string().as_str(), outcome.details().as_str()), wanted);
    shown.join("\n")
}

const PASSED: &str = "     Running unittests src/lib.rs (target/debug/deps/a-1)

running 3 tests
test lists ... ok
test refuses - should panic ... ok
test waits ... ignored, takes a day

successes:

---- refuses stdout ----
thread 'refuses' panicked

successes:
    lists
    refuses

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running tests/none.rs (target/debug/deps/none-1)

running 0 tests

test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

#[test]
fn an_ignored_test_is_a_skip() {
    let shown = check(PASSED, true, ("2 passed, 0 failed, 1 skipped", "skipped waits: takes a day\n"));
    assert_eq!(shown.lines().count(), 2, "{shown}");
}

const NESTED: &str = "     Running tests/kernel.rs (target/debug/deps/kernel-1)

running 2 tests
test bridge ... ok
test sctp ... ok

successes:

---- bridge stdout ----

running 1 test
test bridge ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.00s


---- sctp stdout ----

running 1 test
test sctp ... skipped: no module sctp
skipped: no module sctp
skipped: no test program
ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.00s


successes:
    bridge
    sctp

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

#[test]
fn a_test_inside_a_test_is_not_counted_but_its_skip_is() {
    let skips = "skipped sctp: no module sctp\nskipped sctp: no test program\n";
    let shown = check(NESTED, true, ("1 passed, 0 failed, 1 skipped", skips));
    assert!(!shown.contains("test bridge"), "{shown}");
}

const FAILED: &str = "   Compiling a v0.1.0 (/a)
     Running unittests src/lib.rs (target/debug/deps/a-1)

running 2 tests
test good ... ok
test bad ... FAILED

successes:

---- good stdout ----
chatter

successes:
    good

failures:

---- bad stdout ----
skipped: half of it
running 1 test
left: 1

failures:
    bad

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

error: test failed, to rerun pass `-p a --lib`
";

#[test]
fn what_a_failed_test_printed_is_shown_and_is_no_skip() {
    let shown = check(FAILED, false, ("1 passed, 1 failed, 0 skipped", "FAILED bad\n"));
    assert!(shown.contains("Compiling a") && shown.contains("test bad ... FAILED"), "{shown}");
    assert!(shown.contains("left: 1") && !shown.contains("chatter"), "{shown}");
}

const DOC_TESTS: &str = "   Doc-tests a

running 2 tests
test src/lib.rs - (line 1) ... ok
test src/lib.rs - f (line 5) - compile ... ok

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s


running 1 test
test src/lib.rs - g (line 9) ... ignored

test result: ok. 0 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

#[test]
fn doc_tests_may_come_in_several_batches() {
    let skips = "skipped src/lib.rs - g (line 9): ignored\n";
    check(DOC_TESTS, true, ("2 passed, 0 failed, 1 skipped", skips));
}

#[test]
fn a_crate_that_does_not_compile_is_a_failure() {
    let failure = "FAILED cargo test, before or after the tests\n";
    let shown =
        check("error[E0425]: cannot find value `x`", false, ("0 passed, 1 failed, 0 skipped", failure));
    assert!(shown.contains("E0425"));
}

const KILLED: &str = "     Running unittests src/lib.rs (target/debug/deps/a-1)

running 3 tests
test good ... ok
error: test failed, to rerun pass `-p a --lib`

Caused by:
  process didn't exit successfully (signal: 11, SIGSEGV: invalid memory reference)
     Running unittests src/lib.rs (target/debug/deps/b-1)

running 1 test
test fine ... ok
";

#[test]
fn tests_that_a_killed_binary_did_not_end_are_a_failure() {
    let failure = "FAILED 2 tests that did not come to an end\n";
    let shown = check(KILLED, false, ("2 passed, 1 failed, 0 skipped", failure));
    assert!(shown.contains("SIGSEGV"), "{shown}");
}

const INTERRUPTED: &str = "     Running unittests src/lib.rs (target/debug/deps/a-1)

running 2 tests
test one ... a child spoke here
ok
test two ... ok

successes:

---- two stdout ----
skipped: no nft

successes:
    one
    two
";

#[test]
fn a_verdict_that_a_child_wrote_into_is_what_cargo_says() {
    check(INTERRUPTED, true, ("1 passed, 0 failed, 1 skipped", "skipped two: no nft\n"));
}
