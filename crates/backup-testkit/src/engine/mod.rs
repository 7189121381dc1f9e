//! What an engine promises, case by case.
//!
//! The cases drive the engine through [`backup_core::BackupManager`], as programs do, or through its traits where
//! a promise is about those. They change and judge databases through an [`EngineFixture`] only.

pub(crate) mod cancel;
mod capabilities;
mod content;
mod crash;
mod damage;
mod fixture;
mod memory;
pub(crate) mod repository;
pub(crate) mod restore;
mod scratch;
mod secrets;
mod snapshot;

pub use cancel::*;
pub use capabilities::*;
pub use content::*;
pub use crash::*;
pub use damage::*;
pub use fixture::{COLUMNS, EngineFixture, Row, Table};
pub use memory::*;
pub use restore::*;
pub use scratch::*;
pub use secrets::*;
pub use snapshot::*;

/// Expands to one test for each promise of an engine. The expression makes an [`EngineFixture`]; each test makes its own.
///
/// Put it into a test file of the engine's crate, at the top or in a module:
///
/// ```ignore
/// struct MyDatabase { /* a scratch directory, a server */ }
///
/// #[backup_core::async_trait]
/// impl backup_testkit::engine::EngineFixture for MyDatabase { /* ... */ }
///
/// backup_testkit::engine_conformance!(MyDatabase::new());
/// ```
#[macro_export]
macro_rules! engine_conformance {
    ($fixture:expr) => {
        $crate::cases! { $fixture, engine,
            every_type_and_object_comes_back_in_every_format
            hostile_names_and_texts_come_back_in_every_format
            foreign_key_cycles_come_back_in_every_format
            an_empty_database_comes_back
            huge_values_come_back
            duplicate_rows_do_not_cancel_in_a_digest
            a_filter_selects_tables
            an_export_restores_like_its_backup
            a_script_loads_with_the_databases_own_client
            a_plan_is_the_same_whatever_the_jobs
            a_plan_can_be_restored_in_its_order
            chunk_ids_are_the_same_whatever_the_jobs
            every_backup_under_writes_has_the_same_balance
            a_missing_database_is_an_error
            a_backup_changes_nothing_at_its_source
            one_table_is_restored_alone
            a_database_is_restored_under_another_name
            a_target_that_is_not_empty_is_refused_untouched
            an_existing_database_is_replaced
            a_replacement_that_fails_leaves_the_old_database
            a_load_that_fails_leaves_the_target_as_it_was
            a_restore_with_one_job_is_the_same
            a_scratch_database_is_compared_and_leaves_nothing
            a_scratch_database_that_is_cut_off_leaves_nothing
            a_cancelled_backup_leaves_nothing
            a_cancelled_restore_leaves_nothing
            an_aborted_or_dropped_restore_leaves_nothing
            a_backup_whose_repository_fails_anywhere_leaves_nothing
            a_backup_that_is_cut_off_anywhere_is_not_there_or_good
            a_backup_whose_storage_loses_the_answer_is_not_there_or_good
            a_storage_that_lies_about_a_write_is_found_out
            a_backup_that_its_storage_forgets_is_missed
            two_backups_at_once_are_both_good
            every_flipped_byte_is_noticed
            what_is_cut_off_or_missing_is_noticed
            what_is_not_said_to_be_possible_is_unsupported
            unknown_options_are_refused
            secrets_are_never_repeated
        }

        #[test]
        fn memory_is_bounded_while_the_sink_is_slow() {
            const NAME: &str = concat!(module_path!(), "::memory_is_bounded_while_the_sink_is_slow");
            if $crate::alone::is_alone(NAME) {
                $crate::run(async {
                    let fixture = $fixture;
                    $crate::engine::memory_is_bounded_while_the_sink_is_slow(&fixture).await;
                });
            }
        }
    };
}
