//! What a target holds against what it would hold.
