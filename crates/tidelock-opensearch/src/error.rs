//! What the engine's errors mean: one table.
//!
//! Sources: OpenSearch's exception classes, tried on OpenSearch 3.8; Elasticsearch's names where they differ.

use tidelock_core::cause::Cause;

/// The cause behind an error, by its type first (a blocked index answers 403 or 429 like other things do), then by status.
pub(crate) fn classify(status: u16, kind: &str, reason: &str) -> Cause {
    match kind {
        "cluster_block_exception" => Cause::Blocked,
        "es_rejected_execution_exception" | "rejected_execution_exception" | "circuit_breaking_exception" => {
            Cause::Throttled
        }
        "unavailable_shards_exception"
        | "no_shard_available_action_exception"
        | "process_cluster_event_timeout_exception"
        | "master_not_discovered_exception"
        | "cluster_manager_not_discovered_exception"
        | "node_closed_exception"
        | "primary_missing_action_exception"
        | "shard_not_in_primary_mode_exception"
        | "receive_timeout_transport_exception" => Cause::Unavailable,
        "index_not_found_exception" | "index_closed_exception" | "no_shard_found_exception" => Cause::TargetMissing,
        "invalid_index_name_exception" => Cause::InvalidTargetName,
        "security_exception" if status == 401 => Cause::Unauthenticated,
        "security_exception" => Cause::Forbidden,
        "strict_dynamic_mapping_exception" => Cause::MappingConflict,
        "mapper_parsing_exception" | "document_parsing_exception" => {
            if reason.contains("is defined as a field in mapping")
                || reason.contains("_id") && reason.contains("metadata field")
            {
                Cause::ReservedField
            } else if reason.contains("depth") {
                Cause::NestedTooDeeply
            } else {
                Cause::MappingConflict
            }
        }
        "illegal_argument_exception" | "validation_exception" => {
            if reason.contains("no write index") || reason.contains("cluster.blocks") {
                Cause::TargetMissing
            } else if reason.contains("maximum shards open")
                || (reason.contains("pipeline with id") && reason.contains("does not exist"))
            {
                // The cluster's state, whatever the document is.
                Cause::TargetMissing
            } else if reason.contains("Limit of") && reason.contains("fields") {
                Cause::FieldLimit
            } else if reason.contains("depth") {
                Cause::NestedTooDeeply
            } else if reason.contains("mapper") || reason.contains("mapping") {
                Cause::MappingConflict
            } else if reason.contains("id is too long") || reason.contains("if _id is specified it must not be empty") {
                Cause::InvalidId
            } else {
                Cause::InvalidDocument
            }
        }
        "version_conflict_engine_exception" => Cause::LostRace,
        "parse_exception"
        | "json_parse_exception"
        | "x_content_parse_exception"
        | "parsing_exception"
        | "action_request_validation_exception"
        | "not_x_content_exception" => Cause::InvalidDocument,
        _ => by_status(status),
    }
}

/// The cause behind a status without a known error type.
pub(crate) fn by_status(status: u16) -> Cause {
    match status {
        401 => Cause::Unauthenticated,
        403 => Cause::Forbidden,
        404 => Cause::TargetMissing,
        408 | 504 => Cause::TimedOut,
        413 => Cause::DocumentTooLarge,
        429 => Cause::Throttled,
        500..=599 => Cause::Unavailable,
        // Not a refusal of the document: something in between answered, or the engine is none we know.
        _ => Cause::UnexpectedAnswer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_core::cause::Disposition;

    #[test]
    fn every_row() {
        for (status, kind, reason, cause) in [
            (
                429,
                "cluster_block_exception",
                "index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark]",
                Cause::Blocked,
            ),
            (403, "cluster_block_exception", "index [x] blocked by: [FORBIDDEN/8/index write (api)]", Cause::Blocked),
            (429, "es_rejected_execution_exception", "", Cause::Throttled),
            (429, "circuit_breaking_exception", "", Cause::Throttled),
            (503, "unavailable_shards_exception", "", Cause::Unavailable),
            (404, "index_not_found_exception", "no such index [x]", Cause::TargetMissing),
            (400, "index_closed_exception", "closed", Cause::TargetMissing),
            (400, "illegal_argument_exception", "no write index is defined for alias [a]", Cause::TargetMissing),
            (400, "illegal_argument_exception", "pipeline with id [x] does not exist", Cause::TargetMissing),
            (
                400,
                "illegal_argument_exception",
                "Validation Failed: 1: this action would add [10] total shards, but this cluster currently has [2402]/[2000] maximum shards open;",
                Cause::TargetMissing,
            ),
            (400, "invalid_index_name_exception", "must be lowercase", Cause::InvalidTargetName),
            (400, "mapper_parsing_exception", "failed to parse field [age] of type [long]", Cause::MappingConflict),
            (400, "document_parsing_exception", "failed to parse", Cause::MappingConflict),
            (400, "strict_dynamic_mapping_exception", "", Cause::MappingConflict),
            (400, "illegal_argument_exception", "Limit of total fields [1000] has been exceeded", Cause::FieldLimit),
            (
                400,
                "illegal_argument_exception",
                "mapper [a] cannot be changed from type [long] to [float]",
                Cause::MappingConflict,
            ),
            (400, "illegal_argument_exception", "Document contains at least one immense term", Cause::InvalidDocument),
            (400, "", "", Cause::UnexpectedAnswer),
            (401, "", "", Cause::Unauthenticated),
            (403, "security_exception", "no permissions", Cause::Forbidden),
            (403, "", "", Cause::Forbidden),
            (500, "some_new_exception", "", Cause::Unavailable),
            (502, "", "", Cause::Unavailable),
            (504, "", "", Cause::TimedOut),
            (413, "", "", Cause::DocumentTooLarge),
        ] {
            assert_eq!(classify(status, kind, reason), cause, "{status} {kind} {reason}");
        }
    }

    #[test]
    fn what_an_operator_must_mend_is_never_parked() {
        for (status, kind) in [
            (403, "cluster_block_exception"),
            (429, "cluster_block_exception"),
            (404, "index_not_found_exception"),
            (401, ""),
            (403, ""),
        ] {
            assert_eq!(classify(status, kind, "").disposition(), Disposition::Retry, "{status} {kind}");
        }
    }
}
