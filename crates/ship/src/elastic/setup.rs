// SPDX-License-Identifier: Apache-2.0
//! What a search cluster needs before documents come: policy, index template and data stream. It is
//! planned first, so that it can be shown; nothing that is there is changed unless it is ours.

use super::{ElasticSettings, reply, template};
use crate::http::{Answer, Client};
use serde_json::{Value, json};

/// One thing to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct SetUpStep {
    /// In words.
    pub what: String,
    /// `PUT` or `POST`.
    pub method: &'static str,
    /// Below the URL.
    pub path: String,
    /// What is sent; null when nothing is.
    pub body: Value,
    /// What the documents do without.
    pub optional: bool,
}

/// What is to be done, and the connection to do it on.
#[derive(Debug)]
pub struct SetUp {
    settings: ElasticSettings,
    client: Client,
    product: String,
    kept: Vec<String>,
    steps: Vec<SetUpStep>,
}

impl SetUp {
    /// Asks the cluster what it is and what it has. Documents are to be kept for `days`.
    ///
    /// # Errors
    /// In words.
    pub fn plan(settings: &ElasticSettings, days: u32) -> Result<SetUp, String> {
        let mut client = settings.http.client(None).map_err(|error| error.to_string())?;
        let mut get = |path: String| {
            client.ask(settings.http.request("GET", path, "", Vec::new())).map_err(|error| error.to_string())
        };
        let product = reply::product(&get(String::new())?)?;
        let stream = settings.data_stream.as_str();
        let policy = format!("purser-{stream}");
        let policy_path = match product.is_opensearch {
            true => format!("/_plugins/_ism/policies/{policy}"),
            false => format!("/_ilm/policy/{policy}"),
        };
        let (mut kept, mut steps) = (Vec::new(), Vec::new());
        let step = |what: String, path: String, body: Value, optional| SetUpStep {
            what,
            method: "PUT",
            path,
            body,
            optional,
        };
        let policy_body =
            if product.is_opensearch { template::ism(stream, days) } else { template::ilm(days) };
        let has_policy = get(policy_path.clone())?.is_good();
        let what = format!(
            "life-cycle policy {policy}: a new index each 50 GB or 7 days, deleted {days} days later"
        );
        match (has_policy, product.is_opensearch) {
            // OpenSearch replaces a policy only when it is told which one; that is left to people.
            (true, true) => kept.push(format!("life-cycle policy {policy}")),
            _ => steps.push(step(what, policy_path, policy_body, product.is_opensearch)),
        }
        let template_path = format!("/_index_template/{policy}");
        let body = template::index(stream, &policy, product.is_opensearch);
        steps.push(step(format!("index template {policy} for {stream}"), template_path, body, false));
        if reply::has_stream(&get(format!("/_data_stream/{stream}"))?) {
            kept.push(format!("data stream {stream}"));
            if product.is_opensearch && !has_policy {
                // A policy takes by itself only what is made after it.
                let what = format!("life-cycle policy {policy} for the indices that {stream} has");
                let path = format!("/_plugins/_ism/add/{stream}");
                let body = json!({ "policy_id": policy });
                steps.push(SetUpStep { method: "POST", ..step(what, path, body, true) });
            }
        } else if get(format!("/{stream}"))?.is_good() {
            return Err(format!(
                "an ordinary index is called {stream}, so there can be no data stream of that name: pause the sink, \
                 delete or rename the index, set up again, and rewind the sink to where the index began"
            ));
        } else {
            let path = format!("/_data_stream/{stream}");
            steps.push(step(format!("data stream {stream}"), path, Value::Null, false));
        }
        Ok(SetUp { settings: settings.clone(), client, product: product.to_string(), kept, steps })
    }

    /// What the cluster is.
    pub fn product(&self) -> &str {
        &self.product
    }

    /// What is there and stays as it is.
    pub fn kept(&self) -> &[String] {
        &self.kept
    }

    /// What is to be done, in this order.
    pub fn steps(&self) -> &[SetUpStep] {
        &self.steps
    }

    /// Does one step.
    ///
    /// # Errors
    /// What the cluster said.
    pub fn run(&mut self, step: &SetUpStep) -> Result<(), String> {
        let body = if step.body.is_null() { Vec::new() } else { step.body.to_string().into_bytes() };
        let request = self.settings.http.request(step.method, step.path.clone(), "application/json", body);
        let answer: Answer = self.client.ask(request).map_err(|error| error.to_string())?;
        if answer.is_good() && !reply::has_failures(&answer) {
            Ok(())
        } else {
            Err(format!("{} {}: {}", step.method, step.path, answer.told()))
        }
    }
}
