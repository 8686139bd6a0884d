//! The cache behaviours of a distribution: what they do with a request for one of their origins.

use aws_sdk_cloudfront::types::{
    CacheBehavior, CacheBehaviors, DefaultCacheBehavior, DistributionConfig, EventType, ForwardedValues,
    FunctionAssociation, FunctionAssociations, LambdaFunctionAssociation, LambdaFunctionAssociations,
    OriginGroupMember, OriginGroups,
};

/// A behaviour, the default one or another.
pub(in crate::aws) struct Behaviour<'a> {
    /// The ids of the origins that it leads to: one, or those of an origin group.
    origins: Vec<&'a str>,
    /// Whether a function may change the path before it reaches the origin.
    pub(in crate::aws) has_function: bool,
    /// The cache policy, which says whether query strings are part of the cache key.
    pub(in crate::aws) cache_policy: Option<&'a str>,
    /// Whether they are, where there is no cache policy.
    pub(in crate::aws) forwards_query_strings: bool,
}

impl Behaviour<'_> {
    pub(in crate::aws) fn leads_to(&self, origin: &str) -> bool {
        self.origins.contains(&origin)
    }
}

/// Returns all behaviours of a distribution.
pub(in crate::aws) fn behaviours(config: &DistributionConfig) -> Vec<Behaviour<'_>> {
    let others = config.cache_behaviors().map(CacheBehaviors::items).unwrap_or_default();
    let all = others.iter().map(Parts::from).chain(config.default_cache_behavior().map(Parts::from));
    all.map(|parts| parts.behaviour(config)).collect()
}

/// The fields that both of the API's types of behaviours have.
struct Parts<'a> {
    target: &'a str,
    functions: Option<&'a FunctionAssociations>,
    lambdas: Option<&'a LambdaFunctionAssociations>,
    cache_policy: Option<&'a str>,
    forwarded: Option<&'a ForwardedValues>,
}

impl<'a> From<&'a DefaultCacheBehavior> for Parts<'a> {
    #[expect(deprecated, reason = "older distributions have ForwardedValues in place of a cache policy")]
    fn from(behaviour: &'a DefaultCacheBehavior) -> Self {
        Self {
            target: behaviour.target_origin_id(),
            functions: behaviour.function_associations(),
            lambdas: behaviour.lambda_function_associations(),
            cache_policy: behaviour.cache_policy_id(),
            forwarded: behaviour.forwarded_values(),
        }
    }
}

impl<'a> From<&'a CacheBehavior> for Parts<'a> {
    #[expect(deprecated, reason = "older distributions have ForwardedValues in place of a cache policy")]
    fn from(behaviour: &'a CacheBehavior) -> Self {
        Self {
            target: behaviour.target_origin_id(),
            functions: behaviour.function_associations(),
            lambdas: behaviour.lambda_function_associations(),
            cache_policy: behaviour.cache_policy_id(),
            forwarded: behaviour.forwarded_values(),
        }
    }
}

impl<'a> Parts<'a> {
    fn behaviour(self, config: &'a DistributionConfig) -> Behaviour<'a> {
        let functions = self.functions.map(FunctionAssociations::items).unwrap_or_default();
        let lambdas = self.lambdas.map(LambdaFunctionAssociations::items).unwrap_or_default();
        let mut events = functions
            .iter()
            .map(FunctionAssociation::event_type)
            .chain(lambdas.iter().map(LambdaFunctionAssociation::event_type));
        Behaviour {
            origins: origins(self.target, config),
            has_function: events.any(|event| matches!(event, EventType::ViewerRequest | EventType::OriginRequest)),
            cache_policy: self.cache_policy.filter(|id| !id.is_empty()),
            forwards_query_strings: self.forwarded.is_some_and(ForwardedValues::query_string),
        }
    }
}

/// Returns the ids of the origins of a target, which is an origin or a group of origins.
fn origins<'a>(target: &'a str, config: &'a DistributionConfig) -> Vec<&'a str> {
    let groups = config.origin_groups().map(OriginGroups::items).unwrap_or_default();
    let members = groups.iter().find(|group| group.id() == target).and_then(|group| group.members());
    members.map_or_else(|| vec![target], |members| members.items().iter().map(OriginGroupMember::origin_id).collect())
}
