//! The content types of files whose names a specification fixes.
//!
//! The tables have the names of IANA's registry of well-known URIs (RFC 8615), and a few that are not registered, for
//! which a specification demands a type that their extension does not tell. Other well-known names, such as
//! `security.txt` and `assetlinks.json`, get the right type by their extension.

/// Returns the type that a specification demands for a key, under whatever folder the site is.
pub(super) fn well_known_type(key: &str) -> Option<&'static str> {
    let file_name = key.rsplit('/').next()?;
    if let Some((_, essence)) = FILES.iter().find(|(name, _)| *name == file_name) {
        return Some(essence);
    }
    let (before, name) = key.rsplit_once(".well-known/")?;
    if !before.is_empty() && !before.ends_with('/') {
        return None;
    }
    if let Some((_, essence)) = WELL_KNOWN.iter().find(|(known, _)| *known == name) {
        return Some(essence);
    }
    let (folder, file) = name.split_once('/')?;
    let is_unclear = crate::key::extension(file).is_none_or(|extension| {
        extension.eq_ignore_ascii_case("json") || mime_guess::from_ext(extension).first_raw().is_none()
    });
    let below = FOLDERS.iter().find(|(known, _)| *known == folder);
    below.filter(|_| is_unclear && !file.is_empty()).map(|(_, essence)| *essence)
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

/// Files with a given name, in any folder.
const FILES: &[(&str, &str)] = &[
    // Apple, "Supporting associated domains": served as JSON, at the root or under .well-known.
    ("apple-app-site-association", JSON),
    // Plain text by convention. Without a type, a browser offers them as a download.
    ("AUTHORS", TEXT),
    ("CHANGELOG", TEXT),
    ("CNAME", TEXT),
    ("COPYING", TEXT),
    ("LICENCE", TEXT),
    ("LICENSE", TEXT),
    ("NOTICE", TEXT),
    ("README", TEXT),
    ("VERSION", TEXT),
];

/// Files under `.well-known/`.
const WELL_KNOWN: &[(&str, &str)] = &[
    ("amphtml/apikey.pub", TEXT),                            // AMP, "Update AMP content"
    ("api-catalog", "application/linkset+json"),             // RFC 9727
    ("apple-developer-merchantid-domain-association", TEXT), // Apple Pay on the Web: hexadecimal text
    ("atproto-did", TEXT),                                   // AT Protocol, "Handle"
    ("authzen-configuration", JSON),                         // OpenID AuthZEN, Authorization API 1.0, section 9
    ("browserid", JSON),                                     // BrowserID, "Declaring support"
    ("change-password", "text/html"),                        // W3C, "A Well-Known URL for Changing Passwords"
    ("com.apple.remotemanagement", JSON),                    // Apple, "Discover Account-driven Enrollment"
    ("core", "application/link-format"),                     // RFC 6690, section 7.1
    ("csvm", TEXT),                                          // W3C, "Model for Tabular Data", section 5.3
    ("dnt", "application/tracking-status+json"),             // W3C, "Tracking Preference Expression"
    ("funding-manifest-urls", TEXT),                         // floss.fund, "funding.json": one URL a line
    ("gnap-as-rs", JSON),                                    // RFC 9767, section 3.1
    ("host-meta", "application/xrd+xml"),                    // RFC 6415, section 2
    ("http-message-signatures-directory", "application/http-message-signatures-directory+json"), // the IETF's draft
    ("http-opportunistic", JSON),                            // RFC 8164, section 2.3
    ("jmap", JSON),                                          // RFC 8620, section 2
    ("jwks", "application/jwk-set+json"),                    // RFC 7517, section 8.5.2
    ("jwt-vc-issuer", JSON),                                 // IETF, SD-JWT VC, "JWT VC Issuer Metadata"
    ("matrix/client", JSON),                                 // Matrix, client-server API, "Well-known URI"
    ("matrix/server", JSON),                                 // Matrix, server-server API, "Resolving server names"
    ("matrix/support", JSON),                                // Matrix, client-server API, "Getting support"
    ("nfv-oauth-server-configuration", JSON),                // ETSI GS NFV-SEC 022
    ("nodeinfo", JSON),                                      // NodeInfo protocol: a JRD, requested as JSON
    ("oauth-authorization-server", JSON),                    // RFC 8414, section 3.2
    ("oauth-protected-resource", JSON),                      // RFC 9728, section 3.2
    ("ohttp-gateway", "application/ohttp-keys"),             // RFC 9540; RFC 9458, section 3.2
    ("open-resource-discovery", JSON),                       // Open Resource Discovery, "ORD Configuration Endpoint"
    ("openid-configuration", JSON),                          // OpenID Connect Discovery 1.0, section 4.2
    ("openid-credential-issuer", JSON),                      // OpenID for Verifiable Credential Issuance 1.0
    ("openid-federation", "application/entity-statement+jwt"), // OpenID Federation 1.0, section 9.2
    ("passkey-endpoints", JSON), // W3C, "A Well-Known URL for Passkey Endpoints", section 3.1
    ("private-token-issuer-directory", "application/private-token-issuer-directory"), // RFC 9578, section 4
    ("pvd", "application/pvd+json"), // RFC 8801, section 4
    ("reload-config", "application/p2p-overlay+xml"), // RFC 6940, section 11.1
    ("repute-template", TEXT),   // RFC 7072
    ("resourcesync", "application/xml"), // ANSI/NISO Z39.99: a Sitemap document
    ("shared-storage/trusted-origins", JSON), // WICG, "Shared Storage API"
    ("smart-configuration", JSON), // HL7, SMART App Launch, "Conformance"
    ("ssf-configuration", JSON), // OpenID Shared Signals Framework 1.0
    ("stellar.toml", TEXT),      // Stellar, SEP-1, "Content type"
    ("traffic-advice", "application/trafficadvice+json"), // "Traffic advice", buettner/private-prefetch-proxy
    ("ucp", JSON),               // Universal Commerce Protocol, "Profile"
    ("uma2-configuration", JSON), // Kantara, UMA 2.0 Grant, section 2
    ("void", "text/turtle"),     // W3C, "Describing Linked Datasets", section 7.2
    ("web-app-origin-association", JSON), // WICG, "Scope Extensions for Web Apps"
    ("web-identity", JSON),      // W3C, "Federated Credential Management API"
    ("webauthn", JSON),          // W3C, "Web Authentication Level 3", section 5.11
    ("webfinger", "application/jrd+json"), // RFC 7033, section 10.2
    ("wot", "application/td+json"), // W3C, "Web of Things Discovery"
    ("x-nodeinfo2", JSON),       // NodeInfo2
];

/// Files without a telling extension in a folder under `.well-known/`, where issuers and users have paths of their own.
const FOLDERS: &[(&str, &str)] = &[
    ("acme-challenge", "application/octet-stream"), // RFC 8555, section 8.3
    ("authzen-configuration", JSON),
    ("dnt", "application/tracking-status+json"), // W3C, "Tracking Preference Expression"
    ("jwt-vc-issuer", JSON),
    ("keysend", JSON),                    // Keysend address
    ("lnurlp", JSON),                     // LUD-16
    ("matrix", JSON),                     // Matrix: every file is JSON
    ("mud", "application/mud+json"),      // RFC 8520
    ("nodeinfo", JSON),                   // NodeInfo protocol: its documents, by version
    ("oauth-authorization-server", JSON), // RFC 8414, section 3.1
    ("oauth-protected-resource", JSON),   // RFC 9728, section 3.1
    ("openid-configuration", JSON),       // RFC 8414, section 5
    ("openid-credential-issuer", JSON),
    ("pki-validation", TEXT), // CA/Browser Forum, Baseline Requirements, section 3.2.2.4.18
    ("posh", JSON),           // RFC 7711, section 3
    ("ssf-configuration", JSON),
];
