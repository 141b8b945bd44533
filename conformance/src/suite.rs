//! The list of cases, as tests.

use crate::stage::Stage;

/// Plays a case, as often as the stage asks for.
pub fn run<S: Stage>(case: impl Fn()) {
    if let Some(why) = S::unavailable() {
        println!("skipped: {why}");
        return;
    }
    for round in 0..S::ROUNDS {
        S::set_round(round);
        // Shown when the case fails.
        println!("round {round}");
        case();
    }
}

/// A module of this name with a test for each case that every stage can play.
#[macro_export]
macro_rules! suite {
    ($name:ident, $stage:ty) => {
        $crate::cases_on! { $name, $stage:
            echo
            full_duplex_bulk
            bursts_arrive_whole
            one_byte_writes
            urgent_marks
            urgent_marks_in_bulk
            empty_connection
            connection_that_only_talks
            half_close_client_first
            half_close_server_first
            half_close_both_at_once
            end_that_comes_with_the_last_bytes
            reset_by_client
            reset_by_server
            reset_found_by_sending
            reset_by_client_while_it_is_stalled
            reset_by_server_while_it_is_stalled
            reset_after_half_close
            answer_before_a_reset
            long_answer_before_a_reset
            request_before_a_reset
            answer_then_reset
            reset_by_server_after_the_client_is_gone
            reset_by_client_after_the_server_is_gone
            close_with_bytes_unread
            refused_server_is_passed_over
            all_refused
            connect_timeout
            unresolved_name
            refusing_server_gets_one_try_in_a_while
            refusing_address_gets_one_try_in_a_while
            each_client_tries_each_address
            silent_address_is_outrun
            connections_are_spread_over_a_names_addresses
            server_that_ends_early_is_ejected
            server_that_refuses_is_ejected
            server_whose_clients_leave_first_is_not_ejected
            half_connected_server_is_passed_over
            half_connected_server_without_a_budget_is_the_end
            server_that_got_a_byte_is_not_left
            server_that_speaks_and_ends_is_not_left
            server_whose_client_ended_first_is_not_left
            server_that_kept_a_connection_is_not_left
            half_connected_servers_each_get_a_header
            retries_stay_within_the_budget
            refusing_server_is_tried_again
            client_gone_between_tries
            client_gone_while_connecting
            client_that_leaves_while_connecting
            idle_connection_ends
            idle_timeout_spares_the_busy
            idle_timeout_while_stalled_is_a_reset
            silent_client_ends_beside_a_talking_server
            silent_server_ends_beside_a_talking_client
            silence_of_both_ends_by_the_shorter_time
            held_up_client_is_not_silent
            half_closed_connection_ends_though_bytes_flow
            half_closed_connection_ends_in_silence
            lifetime_of_a_quiet_connection_ends_orderly
            back_pressure_from_server
            back_pressure_from_client
            fairness
            max_connections
            full_servers_are_waited_for_in_order
            place_that_is_not_free_in_time
            queue_that_is_full
            client_gone_while_it_waits_for_a_place
            client_that_has_spoken_keeps_its_turn
            next_server_is_waited_for_after_a_refusal
            stop_cuts_those_who_wait
            header_in_one_piece
            header_byte_by_byte
            header_data_and_end_at_once
            header_data_and_reset
            reset_in_the_prologue
            prologue_timeout
            probe
            bytes_that_are_no_header
            optional_header
            optional_header_and_a_server_that_speaks_first
            stop_cuts_prologues
            header_for_the_server
            hello_chooses_the_server
            hello_byte_by_byte
            long_hello
            broken_hello
            without_tls
            unknown_name
            postgres_by_name
            postgres_at_once
            postgres_without_tls
            server_without_tls_is_passed_over
            smtp_by_name
            stop_cuts_connections
            panic_is_the_end_of_one_connection
        }
    };
}

/// A module of this name with a test for each case that needs sockets of the kernel.
#[macro_export]
macro_rules! real_suite {
    ($name:ident, $stage:ty) => {
        $crate::cases_on! { $name, $stage:
            bandwidth_of_the_listener
            bandwidth_of_what_was_heard
            bandwidth_of_a_connection
            drain_serves_the_backlog
            drain_lets_connections_finish
            restart_on_the_same_port
            unix_sockets
            full_unix_server_is_waited_for
            full_unix_server_times_out
        }
    };
}

/// A module with a test for each of the named cases.
#[macro_export]
macro_rules! cases_on {
    ($name:ident, $stage:ty: $($case:ident)*) => {
        mod $name {
            #[allow(unused_imports, reason = "the stage may be named by a path")]
            use super::*;
            $(
                #[test]
                fn $case() {
                    $crate::run::<$stage>($crate::cases::$case::<$stage>);
                }
            )*
        }
    };
}
