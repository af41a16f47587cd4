//! Secrets Manager as our code uses it: one suite for that of `dev` and for another's.
//!
//! AWS's API reference has all that it expects. `infra/rehearse` runs it against ministack, and
//! lists the differences of ministack.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use aws_sdk_secretsmanager::primitives::Blob;
use devstack::Stack;
use futures_util::future::join_all;
use threads_auth_store::aws;

use crate::fixture::{elsewhere, http, stack_with};

const IT: &str = "a/secret";

/// A service with one secret, whose first version is `one`.
struct Service {
    client: Client,
    /// The id of the first version.
    first: String,
    arn: String,
    _stack: Stack,
}

async fn service() -> Service {
    let elsewhere = elsewhere("TEST_SECRETS_MANAGER_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER");
    let variables: Vec<_> = elsewhere.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let stack = stack_with(&variables).await;
    let client = aws::secrets_manager(&stack.service().config().aws, &http());
    let created = client.create_secret().name(IT).secret_string("one").send().await.unwrap();
    let (first, arn) = (created.version_id.unwrap(), created.arn.unwrap());
    Service { client, first, arn, _stack: stack }
}

impl Service {
    async fn put(&self, n: u32, text: &str, labels: &[&str]) -> Result<(), String> {
        let labels = (!labels.is_empty()).then(|| labels.iter().map(ToString::to_string).collect());
        let put = self.client.put_secret_value().secret_id(IT).client_request_token(id(n));
        code(put.secret_string(text).set_version_stages(labels).send().await)
    }

    async fn move_label(&self, label: &str, from: Option<&str>, to: Option<&str>) -> Result<(), String> {
        let asked = self.client.update_secret_version_stage().secret_id(IT).version_stage(label);
        let asked = asked.set_remove_from_version_id(from.map(str::to_owned));
        code(asked.set_move_to_version_id(to.map(str::to_owned)).send().await)
    }

    async fn get(
        &self,
        secret: &str,
        version: Option<&str>,
        label: Option<&str>,
    ) -> Result<GetSecretValueOutput, String> {
        let asked =
            self.client.get_secret_value().secret_id(secret).set_version_id(version.map(str::to_owned));
        let got = asked.set_version_stage(label.map(str::to_owned)).send().await;
        got.map_err(|error| error.code().unwrap().to_owned())
    }

    async fn text(&self, version: Option<&str>, label: Option<&str>) -> Result<String, String> {
        self.get(IT, version, label).await.map(|got| got.secret_string.unwrap())
    }

    /// The labels of a version, sorted.
    async fn labels(&self, version: &str) -> Vec<String> {
        let told = self.client.describe_secret().secret_id(IT).send().await.unwrap();
        let mut labels = told.version_ids_to_stages.unwrap().remove(version).unwrap_or_default();
        labels.sort();
        labels
    }

    /// The ids of the versions, sorted, by pages of two.
    async fn versions(&self, with_deprecated: bool) -> Vec<String> {
        let asked = self.client.list_secret_version_ids().secret_id(IT).include_deprecated(with_deprecated);
        let mut pages = asked.max_results(2).into_paginator().send();
        let mut ids = Vec::new();
        while let Some(page) = pages.try_next().await.unwrap() {
            let page = page.versions.unwrap_or_default();
            assert!(page.len() <= 2);
            ids.extend(page.into_iter().map(|version| version.version_id.unwrap()));
        }
        ids.sort();
        ids
    }
}

fn id(n: u32) -> String {
    format!("{n:032}")
}

/// The code of a refusal.
fn code<T, E: ProvideErrorMetadata>(answer: Result<T, SdkError<E>>) -> Result<(), String> {
    answer.map(drop).map_err(|error| error.code().unwrap().to_owned())
}

fn refused<T>(code: &str) -> Result<T, String> {
    Err(code.to_owned())
}

#[tokio::test]
async fn a_value_is_read_by_label_and_by_version() {
    let it = service().await;
    it.put(2, "two", &[]).await.unwrap();
    let current = it.get(IT, None, None).await.unwrap();
    assert_eq!((current.secret_string.as_deref(), current.version_id), (Some("two"), Some(id(2))));
    assert_eq!(current.version_stages.unwrap(), ["AWSCURRENT"]);
    assert_eq!(it.text(None, Some("AWSPREVIOUS")).await.unwrap(), "one");
    assert_eq!(it.text(Some(&it.first), None).await.unwrap(), "one");
    assert_eq!(it.text(Some(&id(2)), Some("AWSCURRENT")).await.unwrap(), "two");
    let partial = it.arn.rsplit_once('-').unwrap().0;
    for arn in [&it.arn, partial] {
        assert_eq!(it.get(arn, None, None).await.unwrap().secret_string.unwrap(), "two");
    }
    assert_eq!(it.text(None, Some("OTHER")).await, refused("ResourceNotFoundException"));
    assert_eq!(it.text(Some(&id(3)), None).await, refused("ResourceNotFoundException"));
    assert_eq!(it.get("another", None, None).await.err().unwrap(), "ResourceNotFoundException");
    // Only the words distinguish a secret without a value from a deleted one.
    for (secret, words) in [(IT, "the specified secret value"), ("another", "the specified secret.")] {
        let got = it.client.get_secret_value().secret_id(secret).version_stage("OTHER").send().await;
        let error = got.unwrap_err();
        assert!(error.message().unwrap().contains(words), "{error:?}");
    }
    let again = it.client.create_secret().name(IT).secret_string("other").send().await;
    assert_eq!(code(again), refused("ResourceExistsException"));
}

#[tokio::test]
async fn a_label_moves_only_from_where_it_is() {
    let it = service().await;
    it.put(2, "two", &["NEXT"]).await.unwrap();
    let (first, second) = (it.first.as_str(), &*id(2));
    for from in [None, Some(second)] {
        let moved = it.move_label("AWSCURRENT", from, Some(second)).await;
        assert_eq!(moved, refused("InvalidParameterException"), "{from:?}");
    }
    let missing = it.move_label("AWSCURRENT", Some(first), Some(&id(3))).await;
    assert_eq!(missing, refused("ResourceNotFoundException"));
    assert_eq!(it.move_label("AWSCURRENT", None, None).await, refused("InvalidParameterException"));
    assert_eq!(
        (it.labels(first).await, it.labels(second).await),
        (vec!["AWSCURRENT".to_owned()], vec!["NEXT".to_owned()])
    );

    it.move_label("AWSCURRENT", Some(first), Some(second)).await.unwrap();
    assert_eq!(it.labels(first).await, ["AWSPREVIOUS"]);
    assert_eq!(it.labels(second).await, ["AWSCURRENT", "NEXT"]);
    // To where it is, it moves without a word.
    it.move_label("AWSCURRENT", None, Some(second)).await.unwrap();
    it.move_label("NEXT", Some(second), None).await.unwrap();
    assert_eq!(it.move_label("NEXT", Some(second), None).await, refused("InvalidParameterException"));

    let back = it.move_label("AWSCURRENT", Some(first), Some(first)).await;
    assert_eq!(back, refused("InvalidParameterException"));
    it.move_label("AWSCURRENT", Some(second), Some(first)).await.unwrap();
    assert_eq!(
        (it.labels(first).await, it.labels(second).await),
        (vec!["AWSCURRENT".to_owned()], vec!["AWSPREVIOUS".to_owned()])
    );
    assert_eq!(it.text(None, None).await.unwrap(), "one");
}

#[tokio::test]
async fn of_many_who_move_a_label_at_once_one_does() {
    let it = service().await;
    let mut before = it.first.clone();
    for round in 0..5 {
        let ids: Vec<_> = (0..8).map(|n| 100 + round * 8 + n).collect();
        let racing = join_all(ids.iter().map(async |n| {
            it.put(*n, &n.to_string(), &["NEXT"]).await.unwrap();
            it.move_label("AWSCURRENT", Some(&before), Some(&id(*n))).await
        }));
        let moved: Vec<_> = ids.iter().zip(racing.await).collect();
        let mut done = moved.iter().filter(|(_, answer)| answer.is_ok());
        let (winner, _) = done.next().unwrap();
        assert!(done.next().is_none(), "{moved:?}");
        assert_eq!(it.text(None, None).await.unwrap(), winner.to_string());
        before = id(**winner);
    }
}

#[tokio::test]
async fn versions_are_listed_by_pages() {
    let it = service().await;
    for n in 2..=5 {
        it.put(n, "more", &[&format!("LABEL{n}")]).await.unwrap();
    }
    let mut expected: Vec<_> = (2..=5).map(id).chain([it.first.clone()]).collect();
    expected.sort();
    assert_eq!(it.versions(false).await, expected);
}

#[tokio::test]
async fn a_deleted_secret_is_not_read_until_it_is_restored() {
    let it = service().await;
    it.put(2, "two", &["NEXT"]).await.unwrap();
    let delete = || it.client.delete_secret().secret_id(IT);
    for wrong in [
        delete().recovery_window_in_days(6),
        delete().recovery_window_in_days(7).force_delete_without_recovery(true),
    ] {
        assert_eq!(code(wrong.send().await), refused("InvalidParameterException"));
    }
    let gone_at = delete().recovery_window_in_days(7).send().await.unwrap().deletion_date.unwrap();
    let told = it.client.describe_secret().secret_id(IT).send().await.unwrap();
    assert_eq!(told.deleted_date.unwrap().secs(), gone_at.secs());
    assert_eq!(it.text(None, None).await, refused("InvalidRequestException"));
    assert_eq!(it.put(3, "three", &[]).await, refused("InvalidRequestException"));
    let moved = it.move_label("AWSCURRENT", Some(&it.first), Some(&id(2))).await;
    assert_eq!(moved, refused("InvalidRequestException"));
    assert_eq!(code(delete().send().await), refused("InvalidRequestException"));
    assert_eq!(it.versions(false).await.len(), 2);

    it.client.restore_secret().secret_id(IT).send().await.unwrap();
    assert_eq!(it.text(None, None).await.unwrap(), "one");
    delete().force_delete_without_recovery(true).send().await.unwrap();
    assert_eq!(it.text(None, None).await, refused("ResourceNotFoundException"));
    it.client.create_secret().name(IT).secret_string("anew").send().await.unwrap();
    assert_eq!(it.text(None, None).await.unwrap(), "anew");
}

#[tokio::test]
async fn otherwise_a_token_makes_one_version() {
    let it = service().await;
    for _ in 0..2 {
        it.put(2, "two", &[]).await.unwrap();
    }
    it.put(3, "three", &[]).await.unwrap();
    // The request is repeated, and does not take the label back.
    it.put(2, "two", &[]).await.unwrap();
    assert_eq!(it.put(2, "other", &[]).await, refused("ResourceExistsException"));
    assert_eq!(it.text(None, None).await.unwrap(), "three");
    assert_eq!(it.text(Some(&id(2)), None).await.unwrap(), "two");
    let create = |text: &str| {
        let create = it.client.create_secret().name("another").client_request_token(id(9));
        create.secret_string(text).send()
    };
    let created = [create("text").await.unwrap(), create("text").await.unwrap()];
    assert!(created.iter().all(|created| created.version_id == Some(id(9))));
    assert_eq!(code(create("other").await), refused("ResourceExistsException"));
}

#[tokio::test]
async fn otherwise_a_version_without_a_label_stays() {
    let it = service().await;
    for (n, text) in [(2, "two"), (3, "three")] {
        it.put(n, text, &["MINE", "AWSCURRENT"]).await.unwrap();
    }
    // A label is at one version, and the first has none any more.
    assert_eq!(it.labels(&id(3)).await, ["AWSCURRENT", "MINE"]);
    assert_eq!(it.labels(&id(2)).await, ["AWSPREVIOUS"]);
    let mut all = vec![it.first.clone(), id(2), id(3)];
    all.sort();
    assert_eq!(it.versions(true).await, all);
    assert_eq!(it.versions(false).await, [id(2), id(3)]);
    assert_eq!(it.text(Some(&it.first), None).await.unwrap(), "one");
}

#[tokio::test]
async fn otherwise_a_secret_may_have_no_value() {
    let it = service().await;
    it.client.create_secret().name("empty").send().await.unwrap();
    assert_eq!(it.get("empty", None, None).await.err().unwrap(), "ResourceNotFoundException");
    let put = it.client.put_secret_value().secret_id("empty").version_stages("NEXT");
    let labels = put.secret_binary(Blob::new([0, 255])).send().await.unwrap().version_stages.unwrap();
    // The first version is the current one, whatever else it is.
    assert_eq!(labels, ["NEXT", "AWSCURRENT"]);
    let got = it.get("empty", None, None).await.unwrap();
    assert_eq!((got.secret_binary.unwrap().into_inner(), got.secret_string), (vec![0, 255], None));
}

#[tokio::test]
async fn otherwise_what_makes_no_sense_is_refused() {
    let it = service().await;
    it.put(2, "two", &[]).await.unwrap();
    let both = it.get(IT, Some(&id(2)), Some("AWSPREVIOUS")).await;
    assert_eq!(both.err().unwrap(), "InvalidRequestException");
    let removed = it.move_label("AWSCURRENT", Some(&id(2)), None).await;
    assert_eq!(removed, refused("InvalidParameterException"));
    let put = it.client.put_secret_value().secret_id(IT).secret_string("text");
    let put = put.secret_binary(Blob::new([1])).send().await;
    assert_eq!(code(put), refused("InvalidParameterException"));
    // By force, what is gone already can be deleted; a name is taken until its secret is gone.
    let gone = it.client.delete_secret().secret_id("gone").force_delete_without_recovery(true);
    gone.send().await.unwrap();
    it.client.delete_secret().secret_id(IT).send().await.unwrap();
    let taken = it.client.create_secret().name(IT).secret_string("anew").send().await;
    assert_eq!(code(taken), refused("InvalidRequestException"));
}
