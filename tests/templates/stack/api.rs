//! The API: its routes to three functions, throttled, logged, and closed to strangers unless somebody opens it.

use crate::templates::check::Check;
use crate::templates::document::{attribute_of, keys};
use serde_json::{Value, json};

/// Routes, and the folders of the functions behind them.
const ROUTES: &[(&str, &str)] = &[
    ("DELETE /demo-data/{id}", "demo-writer"),
    ("GET /demo-data", "demo-reader"),
    ("POST /config", "enable-change-streams"),
    ("POST /demo-data", "demo-writer"),
    ("PUT /demo-data/{id}", "demo-writer"),
];

/// Seconds that an HTTP API
/// [waits for a function](https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html).
const PATIENCE_S: u64 = 30;

impl<'a> Check<'a> {
    pub(super) fn api(&mut self, name: &str, properties: &Value) {
        self.known(name, keys(properties), &["Description", "Name", "ProtocolType", "Tags"]);
        self.expect(properties["ProtocolType"] == "HTTP", || format!("{name}: ProtocolType is not HTTP"));
        let mut outputs = self.template["Outputs"].as_object().into_iter().flatten();
        let url = format!("https://${{{name}}}.execute-api.${{AWS::Region}}.${{AWS::URLSuffix}}");
        let told = outputs.any(|(_, output)| output["Value"]["!Sub"] == url.as_str());
        self.expect(told, || format!("no output is {url}"));
        for (route, _) in ROUTES {
            let there = self.resources().any(|(_, _, resource)| resource["Properties"]["RouteKey"] == *route);
            self.expect(there, || format!("there is no route {route}"));
        }
    }

    pub(super) fn stage(&mut self, name: &str, properties: &Value) {
        let known = ["AccessLogSettings", "ApiId", "AutoDeploy", "DefaultRouteSettings", "StageName", "Tags"];
        self.known(name, keys(properties), &known);
        let throttled = json!({
            "ThrottlingRateLimit": {"!Ref": "ApiRequestsPerSecond"}, "ThrottlingBurstLimit": {"!Ref": "ApiBurst"},
        });
        self.expect(properties["DefaultRouteSettings"] == throttled, || format!("{name} is not throttled"));
        let log = attribute_of(&properties["AccessLogSettings"]["DestinationArn"], "Arn");
        self.expect(self.is_a(log, "AWS::Logs::LogGroup"), || format!("{name} keeps no log of its own"));
        let ready = properties["AutoDeploy"] == true && properties["StageName"] == "$default";
        self.expect(ready, || format!("{name}: routes are not deployed, or not at the API's root"));
    }

    /// The function behind an integration.
    fn behind(&self, integration: &str) -> Option<(&'a str, &'a Value)> {
        let uri = &self.template["Resources"][integration]["Properties"]["IntegrationUri"];
        let name = attribute_of(uri, "Arn").filter(|name| self.is_a(Some(name), "AWS::Serverless::Function"))?;
        Some((name, &self.template["Resources"][name]["Properties"]))
    }

    pub(super) fn integration(&mut self, name: &str, properties: &Value) {
        let known = ["ApiId", "IntegrationType", "IntegrationUri", "PayloadFormatVersion"];
        self.known(name, keys(properties), &known);
        let proxy = properties["IntegrationType"] == "AWS_PROXY" && properties["PayloadFormatVersion"] == "2.0";
        self.expect(proxy, || format!("{name}: the function would not be given the request as it reads it"));
        let Some((function, behind)) = self.behind(name) else {
            return self.expect(false, || format!("{name}: IntegrationUri is not one of the template's functions"));
        };
        // What only the API calls is not paid for after the API has given up. The other one works on.
        let in_time = behind["Timeout"].as_u64().is_some_and(|timeout| timeout < PATIENCE_S);
        let called_otherwise = function == "EnableChangeStreamsFunction";
        self.expect(in_time || called_otherwise, || format!("{function} works longer than {PATIENCE_S} s"));
    }

    pub(super) fn route(&mut self, name: &str, properties: &Value) {
        self.known(name, keys(properties), &["ApiId", "AuthorizationType", "RouteKey", "Target"]);
        let key = properties["RouteKey"].as_str().unwrap_or_default();
        let integration =
            properties["Target"]["!Sub"].as_str().and_then(|target| target.strip_prefix("integrations/${"));
        let integration = integration.map_or("", |target| target.trim_end_matches('}'));
        let behind = self.behind(integration);
        let folder = behind.and_then(|(_, function)| function["CodeUri"].as_str());
        let folder = folder.map(|path| path.trim_start_matches("../target/lambda/").trim_end_matches('/'));
        let right = ROUTES.iter().find(|(route, _)| *route == key).map(|(_, folder)| *folder);
        self.expect(folder == right && right.is_some(), || format!("{name}: {key} leads to {folder:?}, not {right:?}"));
        let choice = self.parameter(&properties["AuthorizationType"]).map(|(_, parameter)| parameter);
        let closed = choice.is_some_and(|choice| {
            choice["Default"] == "AWS_IAM" && choice["AllowedValues"] == json!(["AWS_IAM", "NONE"])
        });
        self.expect(closed, || format!("{name}: AuthorizationType is not a choice that is AWS_IAM by default"));
        // The API may call this function for this route, and no other.
        let path = key.replace(' ', "").replace("{id}", "*");
        let source =
            format!("arn:${{AWS::Partition}}:execute-api:${{AWS::Region}}:${{AWS::AccountId}}:${{Api}}/*/{path}");
        let allows = |permission: &Value| {
            permission["SourceArn"]["!Sub"] == source.as_str()
                && permission["FunctionName"]["!Ref"].as_str() == behind.map(|(name, _)| name)
                && permission["Principal"] == "apigateway.amazonaws.com"
        };
        let allowed = self.resources().any(|(_, _, resource)| allows(&resource["Properties"]));
        self.expect(allowed, || format!("{name}: the API may not call the function for {key}"));
    }

    pub(super) fn permission(&mut self, name: &str, properties: &Value) {
        self.known(name, keys(properties), &["Action", "FunctionName", "Principal", "SourceArn"]);
        self.expect(properties["Action"] == "lambda:InvokeFunction", || format!("{name} allows more than to invoke"));
        let of_one = !properties["SourceArn"].is_null();
        self.expect(of_one, || format!("{name} lets every API and rule of the service in"));
    }
}
