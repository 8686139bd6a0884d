use insta::assert_snapshot;

use super::*;

/// Returns one line for each key: its extension or name, and its type.
fn types(keys: &str) -> String {
    keys.split_whitespace().map(|key| format!("{key} {}", content_type(key))).collect::<Vec<_>>().join("\n")
}

#[test]
fn documents_have_their_types() {
    assert_snapshot!(types(
        "x.html x.htm x.xhtml x.txt x.md x.pdf x.xml x.rss x.atom x.xsl x.csv x.tsv x.ics \
         x.vcf x.epub x.docx x.xlsx x.pptx x.rtf"
    ), @r"
    x.html text/html; charset=utf-8
    x.htm text/html; charset=utf-8
    x.xhtml application/xhtml+xml; charset=utf-8
    x.txt text/plain; charset=utf-8
    x.md text/markdown; charset=utf-8
    x.pdf application/pdf
    x.xml text/xml; charset=utf-8
    x.rss application/rss+xml; charset=utf-8
    x.atom application/atom+xml; charset=utf-8
    x.xsl text/xml; charset=utf-8
    x.csv text/csv; charset=utf-8
    x.tsv text/tab-separated-values; charset=utf-8
    x.ics text/calendar; charset=utf-8
    x.vcf text/vcard; charset=utf-8
    x.epub application/epub+zip
    x.docx application/vnd.openxmlformats-officedocument.wordprocessingml.document
    x.xlsx application/vnd.openxmlformats-officedocument.spreadsheetml.sheet
    x.pptx application/vnd.openxmlformats-officedocument.presentationml.presentation
    x.rtf application/rtf
    ");
}

#[test]
fn files_that_pages_load_have_their_types() {
    assert_snapshot!(types(
        "x.css x.js x.mjs x.cjs x.map x.wasm x.json x.webmanifest x.jsonld x.geojson x.yaml \
         x.yml x.toml x.woff x.woff2 x.ttf x.otf x.eot x.ttc"
    ), @r"
    x.css text/css; charset=utf-8
    x.js text/javascript; charset=utf-8
    x.mjs text/javascript; charset=utf-8
    x.cjs text/javascript; charset=utf-8
    x.map application/json; charset=utf-8
    x.wasm application/wasm
    x.json application/json; charset=utf-8
    x.webmanifest application/manifest+json; charset=utf-8
    x.jsonld application/ld+json; charset=utf-8
    x.geojson application/geo+json; charset=utf-8
    x.yaml application/yaml
    x.yml application/yaml
    x.toml application/toml
    x.woff font/woff
    x.woff2 font/woff2
    x.ttf font/ttf
    x.otf font/otf
    x.eot application/vnd.ms-fontobject
    x.ttc font/collection
    ");
}

#[test]
fn media_have_their_types() {
    assert_snapshot!(types(
        "x.png x.apng x.jpg x.jpeg x.gif x.svg x.svgz x.ico x.webp x.avif x.jxl x.heic x.bmp \
         x.tif x.ktx2 x.mp3 x.m4a x.ogg x.oga x.opus x.wav x.flac x.aac x.weba x.mp4 x.m4v \
         x.webm x.ogv x.mov x.m3u8 x.ts x.mpd x.vtt x.srt x.glb x.gltf x.usdz x.obj x.mtl \
         x.stl"
    ), @r"
    x.png image/png
    x.apng image/apng
    x.jpg image/jpeg
    x.jpeg image/jpeg
    x.gif image/gif
    x.svg image/svg+xml; charset=utf-8
    x.svgz image/svg+xml; charset=utf-8
    x.ico image/x-icon
    x.webp image/webp
    x.avif image/avif
    x.jxl image/jxl
    x.heic image/heic
    x.bmp image/bmp
    x.tif image/tiff
    x.ktx2 image/ktx2
    x.mp3 audio/mpeg
    x.m4a audio/mp4
    x.ogg audio/ogg
    x.oga audio/ogg
    x.opus audio/ogg
    x.wav audio/wav
    x.flac audio/flac
    x.aac audio/aac
    x.weba audio/webm
    x.mp4 video/mp4
    x.m4v video/mp4
    x.webm video/webm
    x.ogv video/ogg
    x.mov video/quicktime
    x.m3u8 application/vnd.apple.mpegurl
    x.ts video/mp2t
    x.mpd application/dash+xml; charset=utf-8
    x.vtt text/vtt; charset=utf-8
    x.srt application/x-subrip
    x.glb model/gltf-binary
    x.gltf model/gltf+json; charset=utf-8
    x.usdz model/vnd.usdz+zip
    x.obj model/obj
    x.mtl model/mtl
    x.stl model/stl
    ");
}

#[test]
fn packages_have_their_types() {
    assert_snapshot!(types(
        "x.zip x.gz x.br x.zst x.bz2 x.xz x.tar x.tgz x.7z x.jar x.apk x.deb x.rpm x.dmg \
         x.exe x.iso x.bin x.dat x.js.gz x.js.br x.tar.gz"
    ), @r"
    x.zip application/zip
    x.gz application/gzip
    x.br application/octet-stream
    x.zst application/zstd
    x.bz2 application/x-bzip2
    x.xz application/x-xz
    x.tar application/x-tar
    x.tgz application/x-compressed
    x.7z application/x-7z-compressed
    x.jar application/java-archive
    x.apk application/vnd.android.package-archive
    x.deb application/octet-stream
    x.rpm application/x-rpm
    x.dmg application/octet-stream
    x.exe application/octet-stream
    x.iso application/octet-stream
    x.bin application/octet-stream
    x.dat application/octet-stream
    x.js.gz application/gzip
    x.js.br application/octet-stream
    x.tar.gz application/gzip
    ");
}

#[test]
fn files_without_a_telling_extension_have_their_types() {
    assert_snapshot!(types(
        "CNAME LICENSE site/README robots.txt .nojekyll x x. x.unheard-of folder.html/x \
         apple-app-site-association .well-known/apple-app-site-association \
         site/.well-known/openid-configuration .well-known/matrix/server \
         .well-known/webfinger .well-known/security.txt .well-known/assetlinks.json \
         .well-known/acme-challenge/token not-apple-app-site-association UNLICENSE"
    ), @r"
    CNAME text/plain; charset=utf-8
    LICENSE text/plain; charset=utf-8
    site/README text/plain; charset=utf-8
    robots.txt text/plain; charset=utf-8
    .nojekyll application/octet-stream
    x application/octet-stream
    x. application/octet-stream
    x.unheard-of application/octet-stream
    folder.html/x application/octet-stream
    apple-app-site-association application/json; charset=utf-8
    .well-known/apple-app-site-association application/json; charset=utf-8
    site/.well-known/openid-configuration application/json; charset=utf-8
    .well-known/matrix/server application/json; charset=utf-8
    .well-known/webfinger application/jrd+json; charset=utf-8
    .well-known/security.txt text/plain; charset=utf-8
    .well-known/assetlinks.json application/json; charset=utf-8
    .well-known/acme-challenge/token application/octet-stream
    not-apple-app-site-association application/octet-stream
    UNLICENSE application/octet-stream
    ");
}

#[test]
fn well_known_files_have_the_types_that_their_specifications_demand() {
    let well_known = |names: &str| {
        let keys = names.split_whitespace().map(|name| format!(".well-known/{name}"));
        keys.map(|key| format!("{key} {}", content_type(&key))).collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(well_known(
        "acme-challenge/_t-0k.en amphtml/apikey.pub api-catalog apple-app-site-association atproto-did change-password \
         core csvm host-meta http-opportunistic matrix/client matrix/server matrix/support matrix/policy nodeinfo \
         oauth-authorization-server oauth-authorization-server/issuer/1 oauth-authorization-server/v1.0 \
         oauth-protected-resource oauth-protected-resource/mcp openid-configuration openid-credential-issuer/tenant \
         openid-federation passkey-endpoints pki-validation/token pvd smart-configuration ssf-configuration \
         jwt-vc-issuer/a stellar.toml traffic-advice uma2-configuration void web-identity webauthn webfinger \
         apple-developer-merchantid-domain-association nodeinfo/2.1 shared-storage/trusted-origins web-app-origin-association"
    ), @r"
    .well-known/acme-challenge/_t-0k.en application/octet-stream
    .well-known/amphtml/apikey.pub text/plain; charset=utf-8
    .well-known/api-catalog application/linkset+json; charset=utf-8
    .well-known/apple-app-site-association application/json; charset=utf-8
    .well-known/atproto-did text/plain; charset=utf-8
    .well-known/change-password text/html; charset=utf-8
    .well-known/core application/link-format
    .well-known/csvm text/plain; charset=utf-8
    .well-known/host-meta application/xrd+xml; charset=utf-8
    .well-known/http-opportunistic application/json; charset=utf-8
    .well-known/matrix/client application/json; charset=utf-8
    .well-known/matrix/server application/json; charset=utf-8
    .well-known/matrix/support application/json; charset=utf-8
    .well-known/matrix/policy application/json; charset=utf-8
    .well-known/nodeinfo application/json; charset=utf-8
    .well-known/oauth-authorization-server application/json; charset=utf-8
    .well-known/oauth-authorization-server/issuer/1 application/json; charset=utf-8
    .well-known/oauth-authorization-server/v1.0 application/json; charset=utf-8
    .well-known/oauth-protected-resource application/json; charset=utf-8
    .well-known/oauth-protected-resource/mcp application/json; charset=utf-8
    .well-known/openid-configuration application/json; charset=utf-8
    .well-known/openid-credential-issuer/tenant application/json; charset=utf-8
    .well-known/openid-federation application/entity-statement+jwt
    .well-known/passkey-endpoints application/json; charset=utf-8
    .well-known/pki-validation/token text/plain; charset=utf-8
    .well-known/pvd application/pvd+json; charset=utf-8
    .well-known/smart-configuration application/json; charset=utf-8
    .well-known/ssf-configuration application/json; charset=utf-8
    .well-known/jwt-vc-issuer/a application/json; charset=utf-8
    .well-known/stellar.toml text/plain; charset=utf-8
    .well-known/traffic-advice application/trafficadvice+json; charset=utf-8
    .well-known/uma2-configuration application/json; charset=utf-8
    .well-known/void text/turtle; charset=utf-8
    .well-known/web-identity application/json; charset=utf-8
    .well-known/webauthn application/json; charset=utf-8
    .well-known/webfinger application/jrd+json; charset=utf-8
    .well-known/apple-developer-merchantid-domain-association text/plain; charset=utf-8
    .well-known/nodeinfo/2.1 application/json; charset=utf-8
    .well-known/shared-storage/trusted-origins application/json; charset=utf-8
    .well-known/web-app-origin-association application/json; charset=utf-8
    ");
    assert_snapshot!(well_known(
        "ai-plugin.json assetlinks.json agent-card.json did.json dnt-policy.txt gpc.json host-meta.json mta-sts.txt \
         nostr.json pki-validation/fileauth.txt posh/xmpp-client.json probing.txt related-website-set.json security.txt \
         tdmrep.json terraform.json mud/light.json oauth-protected-resource/logo.png unheard-of"
    ), @r"
    .well-known/ai-plugin.json application/json; charset=utf-8
    .well-known/assetlinks.json application/json; charset=utf-8
    .well-known/agent-card.json application/json; charset=utf-8
    .well-known/did.json application/json; charset=utf-8
    .well-known/dnt-policy.txt text/plain; charset=utf-8
    .well-known/gpc.json application/json; charset=utf-8
    .well-known/host-meta.json application/json; charset=utf-8
    .well-known/mta-sts.txt text/plain; charset=utf-8
    .well-known/nostr.json application/json; charset=utf-8
    .well-known/pki-validation/fileauth.txt text/plain; charset=utf-8
    .well-known/posh/xmpp-client.json application/json; charset=utf-8
    .well-known/probing.txt text/plain; charset=utf-8
    .well-known/related-website-set.json application/json; charset=utf-8
    .well-known/security.txt text/plain; charset=utf-8
    .well-known/tdmrep.json application/json; charset=utf-8
    .well-known/terraform.json application/json; charset=utf-8
    .well-known/mud/light.json application/mud+json; charset=utf-8
    .well-known/oauth-protected-resource/logo.png image/png
    .well-known/unheard-of application/octet-stream
    ");
    for key in ["webauthn", "not.well-known/webauthn", ".well-known/a/webauthn", ".well-known/webauthn/x"] {
        assert_eq!(content_type(key), UNKNOWN, "{key}");
    }
    assert_eq!(content_type("issuer/1/.well-known/openid-configuration"), "application/json; charset=utf-8");
}

#[test]
fn every_correction_corrects_something() {
    for (extension, essence) in CORRECTIONS {
        let library = mime_guess::from_ext(extension).first_raw();
        assert_ne!(library, Some(*essence), "{extension} needs no correction any more");
    }
}
