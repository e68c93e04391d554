//! The Runtime Server as runtimed meets it: a process of its own, called over gRPC.
//!
//! The zygote must fork before any thread exists, so this test has its own `main`: it runs the cases, and it is the
//! server that each case starts.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it reports as the standard test runner does; a test may fail"
)]

mod bad_input;
mod commands;
mod confined;
mod control;
mod fixture;
mod output;
mod outputs;
mod python;
mod scripts;

use fixture::{Fixture, Language};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

/// No case takes longer on a loaded machine.
const CASE_LIMIT: Duration = Duration::from_secs(60);

type Case = (&'static str, Language, fn(Fixture) -> Pin<Box<dyn Future<Output = ()>>>);

macro_rules! cases {
    ($($language:ident $module:ident: $($name:ident)*;)*) => {
        &[$($((
            concat!(stringify!($language), "::", stringify!($module), "::", stringify!($name)),
            Language::$language,
            |fixture| Box::pin($module::$name(fixture)),
        ),)*)*]
    };
}

const CASES: &[Case] = cases! {
    Bash commands: exit_codes_signals_and_their_words two_arguments_are_one_command
        white_space_in_the_first_makes_lines_of_a_script a_script_gets_the_arguments
        what_cannot_be_executed_says_why the_environment_is_exactly_the_documented_one
        temporary_files_have_a_place_and_go code_longer_than_an_argument_runs
        bad_requests_are_refused;
    Bash confined: a_run_has_its_own_files_and_no_others a_run_in_a_shared_workspace_has_that_and_its_own without_isolation_it_has_all
        what_is_everybodys_is_its_own the_server_shows_a_run_nothing bounds_are_kept_and_unknown_ones_refused
        health_says_how_runs_are_kept_apart who_uses_too_much_ends_and_says_so;
    Bash output: any_bytes_are_fine output_is_cut_at_the_limit_and_counted output_is_live
        a_reader_resumes_where_it_was a_list_is_bounded;
    Bash control: a_daemon_is_gone_when_the_end_is_told a_background_child_does_not_hold_the_run
        a_timeout_kills_who_ignores_it cancel_kills_and_drops an_id_that_exists_is_replaced
        only_the_ended_can_be_forgotten the_token_is_required without_renewal_all_ends
        the_lifeline_ends_the_server_and_its_runs a_killed_server_leaves_nothing
        a_dead_zygote_ends_the_server a_stopped_supervisor_cannot_hold_a_cancel;
    Bash bad_input: an_entrypoint_is_a_regular_file_of_the_workspace
        a_file_needs_no_execute_bit_but_must_be_readable ten_thousand_arguments_arrive
        names_that_no_process_can_take_are_refused;
    Python bad_input: an_entrypoint_is_a_regular_file_of_the_workspace
        a_file_needs_no_execute_bit_but_must_be_readable ten_thousand_arguments_arrive
        names_that_no_process_can_take_are_refused;
    Python confined: a_run_of_python_is_confined_warm_and_new;
    Python outputs: a_handler_that_returns_a_dict_of_strings_gives_them_out;
    Python python: what_is_executed exits_signals_and_tracebacks_are_those_of_python3
        a_handler_is_called_and_its_result_printed a_bad_handler_says_what_is_wrong
        a_run_leaves_nothing_in_the_next
        what_is_preloaded_is_there without_an_interpreter_health_says_what_to_do
        a_killed_interpreter_is_replaced_and_its_runs_go_on
        what_imports_took_from_their_surroundings_is_taken_anew;
};

fn main() -> ExitCode {
    if let Some(code) = kruntimes_confine::supervise() {
        return code.into();
    }
    if let Some(dir) = std::env::var_os(fixture::SERVER) {
        return fixture::be_server(Path::new(&dir));
    }
    let args: Vec<_> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--list") {
        CASES.iter().for_each(|(name, ..)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let filter: Vec<_> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let (mut passed, mut failed, mut left_out) = (0, 0, 0);
    for (name, language, case) in CASES {
        if !filter.is_empty() && !filter.iter().any(|part| name.contains(part.as_str())) {
            left_out += 1;
            continue;
        }
        let ok = catch_unwind(AssertUnwindSafe(|| run(*language, *case))).is_ok();
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        if ok { passed += 1 } else { failed += 1 }
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "test result: {result}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {left_out} filtered out"
    );
    ExitCode::from(u8::from(failed > 0))
}

fn run(language: Language, case: fn(Fixture) -> Pin<Box<dyn Future<Output = ()>>>) {
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    executor.block_on(async {
        let fixture = Fixture::start(language).await;
        tokio::time::timeout(CASE_LIMIT, case(fixture)).await.expect("the case ends in time");
    });
}
