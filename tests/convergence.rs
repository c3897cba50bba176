//! Whatever happens between the functions and the target: in the end the target holds what the source has gone through.
//!
//! The simulation (`tidelock-sim`) plays the same with many seeds and no server. Here the built functions write to real ones.

mod deletes;
mod endings;
mod faults;
mod history;
mod interruptions;
mod moves;
mod order;
mod recovery;
mod search;
mod stage;
mod store;
mod takeover;

pub(crate) use interruptions::processes;

use aws_sdk_dynamodb::types::StreamViewType;
use faults::Deed;
use history::{Shape, Step};
use moves::By;
use stage::Stage;

/// Makes a test of each script on each of its servers.
macro_rules! scripts {
    ($($name:ident on $($server:ident)+: |$stage:ident| $script:expr;)+) => {$(
        mod $name {
            use super::*;
            $(
                #[tokio::test]
                async fn $server() {
                    let Some(stage) = Stage::$server().await else { return };
                    let $stage = &stage;
                    $script.await;
                    stage.end().await;
                }
            )+
        }
    )+};
}

const fn shape(seed: u64, step: Step, relabel: bool) -> Shape {
    Shape { seed, step, relabel }
}

scripts! {
    a_burst_of_refusals on opensearch ferretdb secantusdb: |stage| interruptions::refused(stage);
    cut_before_it_was_applied on opensearch ferretdb secantusdb: |stage| interruptions::cut(stage, Deed::CutBefore);
    cut_after_it_was_applied on opensearch ferretdb secantusdb: |stage| interruptions::cut(stage, Deed::CutAfter);
    answers_after_the_deadline on opensearch ferretdb secantusdb: |stage| interruptions::late(stage);
    killed_mid_batch on opensearch ferretdb secantusdb: |stage| interruptions::killed(stage);
    a_server_restarted on own_opensearch own_ferretdb own_secantusdb: |stage| interruptions::restarted(stage);
    late_writes on opensearch ferretdb secantusdb: |stage| deletes::swept(stage);
    late_writes_stay_without_fences on opensearch ferretdb secantusdb: |stage| deletes::stay(stage, "no-fences");
    late_writes_stay_without_guards on opensearch ferretdb secantusdb: |stage| deletes::stay(stage, "none");
    repeats on opensearch ferretdb secantusdb: |stage| order::repeated(stage);
    repeats_win_without_guards on opensearch ferretdb secantusdb: |stage| order::repeats_win(stage);
    numbers_far_apart on opensearch ferretdb secantusdb: |stage| order::numbered(stage, shape(31, Step::Huge, false));
    numbers_one_apart on opensearch ferretdb secantusdb: |stage| order::numbered(stage, shape(32, Step::One, false));
    numbers_mixed on opensearch ferretdb secantusdb: |stage| order::numbered(stage, shape(33, Step::Mixed, false));
    a_stream_enabled_anew on opensearch ferretdb secantusdb: |stage| order::numbered(stage, shape(34, Step::Mixed, true));
    held_while_the_server_is_down on own_opensearch own_secantusdb: |stage| recovery::outage(stage);
    always_held on opensearch ferretdb secantusdb: |stage| recovery::buffered(stage);
    redrive_killed on opensearch secantusdb: |stage| recovery::killed(stage);
    given_up_by_lambda on opensearch secantusdb: |stage| recovery::given_up(stage);
    order_conflicts_are_parked on opensearch ferretdb secantusdb: |stage| order::parked(stage);
    order_conflicts_are_settled_by_the_source on opensearch ferretdb secantusdb: |stage| order::settled(stage);
    documents_from_before_are_taken_over on opensearch ferretdb secantusdb: |stage| takeover::taken_over(stage);
    documents_from_before_give_way_to_the_source on opensearch ferretdb secantusdb: |stage|
        takeover::read_again(stage, StreamViewType::NewAndOldImages);
    keys_alone_are_read_again on opensearch ferretdb secantusdb: |stage|
        takeover::read_again(stage, StreamViewType::KeysOnly);
    moves_by_a_field on opensearch ferretdb secantusdb: |stage| moves::moved(stage, By::Field);
    moves_by_where on opensearch ferretdb secantusdb: |stage| moves::moved(stage, By::Where);
    moves_by_a_shard_key on ferretdb secantusdb: |stage| moves::moved(stage, By::ShardKey);
    fences_deleted_by_hand on opensearch ferretdb secantusdb: |stage| deletes::fences_deleted(stage);
    collections_that_are_gone on opensearch ferretdb secantusdb: |stage| endings::dropped(stage);
    fences_made_again_take_every_id on opensearch ferretdb secantusdb: |stage| deletes::fences_made_again(stage);
}
