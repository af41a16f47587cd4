//! The stack's resources, by their names in AWS.
//!
//! Names that begin alike may belong to another stack, so nothing is looked up by a prefix.

use aws_sdk_cloudformation::operation::list_stack_resources::ListStackResourcesError;
use aws_sdk_scheduler::error::SdkError;

use super::finding::{Finding, unseen};
use crate::operate::target::Deployed;

/// The kinds and physical ids of CloudFormation's resources, or the error that it returned.
pub(in crate::operate) struct Resources(Result<Vec<(String, String)>, SdkError<ListStackResourcesError>>);

impl Resources {
    pub(in crate::operate) async fn of(deployed: &Deployed) -> Self {
        Self(list(deployed).await)
    }

    /// Returns the physical ids of one kind, or the finding of `check` if they are unknown.
    pub(super) fn of_kind(&self, check: &'static str, kind: &str) -> Result<Vec<&str>, Finding> {
        match &self.0 {
            Ok(all) => Ok(all.iter().filter(|(of, _)| of == kind).map(|(_, id)| id.as_str()).collect()),
            Err(error) => Err(unseen(check, error, "cloudformation:ListStackResources")),
        }
    }
}

async fn list(deployed: &Deployed) -> Result<Vec<(String, String)>, SdkError<ListStackResourcesError>> {
    let client = aws_sdk_cloudformation::Client::new(&deployed.sdk);
    let request = client.list_stack_resources().stack_name(&deployed.stack);
    let mut resources = request.into_paginator().items().send();
    let mut all = Vec::new();
    while let Some(resource) = resources.try_next().await? {
        // CloudFormation lists deleted resources too.
        let is_there = resource.resource_status.is_none_or(|status| status.as_str() != "DELETE_COMPLETE");
        if is_there && let (Some(kind), Some(id)) = (resource.resource_type, resource.physical_resource_id) {
            all.push((kind, id));
        }
    }
    Ok(all)
}
