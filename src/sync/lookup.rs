//! Looking messages up at Gmail.

use crate::error::Result;
use crate::message::{BodyDigest, Digest, Identity, Listed, MessageId, Uid};
use crate::state::{OwedLabels, ParkedMessage, SentMark};
use crate::sync::group::PlannedMessage;
use crate::sync::identity::IdentityDecision;
use crate::sync::{LookupQuery, LookupResult, SearchScope, Target, UncertainAppend};

/// Looks up those messages of a group that need it; returns `None` for the others.
pub(super) fn look_up_group(
    group: &[PlannedMessage],
    target: &mut dyn Target,
) -> Result<Vec<Option<LookupResult>>> {
    let queries: Vec<Option<LookupQuery>> = group.iter().map(query_for_planned).collect();
    let asked: Vec<LookupQuery> = queries.iter().flatten().cloned().collect();
    let mut results = if asked.is_empty() {
        Vec::new().into_iter()
    } else {
        target.holds(&asked)?.into_iter()
    };
    let mut next_result = || results.next().unwrap_or(LookupResult::NotFound);
    Ok(queries
        .into_iter()
        .map(|query| query.map(|_| next_result()))
        .collect())
}

/// Says whether Gmail has a parked message, of which only the parked entry is left.
pub(super) fn is_at_gmail(
    uid: Uid,
    parked: &ParkedMessage,
    target: &mut dyn Target,
) -> Result<bool> {
    match query_for_parked(uid, parked) {
        Some(query) if query.identity.id.is_some() || query.uncertain.is_some() => {
            Ok(target.holds(&[query])?.first() == Some(&LookupResult::Found))
        }
        _ => Ok(false),
    }
}

/// The query for a parked message, wherever the user has moved it; `None` if nothing is known about
/// its content.
pub(super) fn query_for_parked(uid: Uid, parked: &ParkedMessage) -> Option<LookupQuery> {
    let digest = parked.digest?;
    let uncertain = parked.sent.and_then(|sent| uncertain(sent, digest));
    Some(LookupQuery {
        uid,
        identity: Identity {
            id: parked.id.clone().filter(MessageId::is_from_field),
            header: digest.header,
        },
        date: parked.date,
        octets: None,
        scope: SearchScope::AllMailTrashAndJunk,
        uncertain,
    })
}

/// The query for a stored message that owes labels.
pub(super) fn query_for_owed(owed: &OwedLabels) -> Option<LookupQuery> {
    Some(LookupQuery {
        uid: Uid::MIN,
        identity: Identity {
            id: Some(owed.id.clone()).filter(MessageId::is_from_field),
            header: owed.digest.header,
        },
        date: owed.date,
        octets: None,
        scope: SearchScope::AllMail,
        uncertain: Some(uncertain(owed.sent, owed.digest)?),
    })
}

fn uncertain(sent: SentMark, digest: Digest) -> Option<UncertainAppend> {
    Some(UncertainAppend {
        at: sent.at,
        mark: sent.mark,
        method: sent.method,
        body: digest.body?,
    })
}

/// Says whether Gmail has a message without Message-ID that a date pass found: one of its body and its
/// INTERNALDATE.
pub(super) fn has_octets(
    listed: &Listed,
    body: BodyDigest,
    target: &mut dyn Target,
) -> Result<bool> {
    let query = LookupQuery {
        uid: listed.uid,
        identity: listed.identity.clone(),
        date: listed.internal_date,
        octets: Some(body),
        scope: SearchScope::AllMailTrashAndJunk,
        uncertain: None,
    };
    Ok(target.holds(&[query])?.first() == Some(&LookupResult::Found))
}

/// The query for a message of a group, if it must be looked up.
pub(super) fn query_for_planned(planned: &PlannedMessage) -> Option<LookupQuery> {
    match planned.decision {
        IdentityDecision::LookUp(scope, _) => Some(query(&planned.listed, scope)),
        IdentityDecision::Known | IdentityDecision::CompareBody => None,
    }
}

/// The query for a listed message.
pub(super) fn query(listed: &Listed, scope: SearchScope) -> LookupQuery {
    LookupQuery {
        uid: listed.uid,
        identity: listed.identity.clone(),
        date: listed.internal_date,
        octets: None,
        scope,
        uncertain: None,
    }
}
