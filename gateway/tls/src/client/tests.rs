use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
};

use super::*;

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn list(issuer: &CertifiedIssuer<'static, KeyPair>, next: SystemTime) -> String {
    let params = CertificateRevocationListParams {
        this_update: (next - Duration::from_secs(86_400)).into(),
        next_update: next.into(),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: vec![],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap().pem().unwrap()
}

fn refused(ca: &str, crl: Option<&str>) -> ClientAuthError {
    let rules = ClientAuth::read(ca.as_bytes(), crl.map(str::as_bytes), ClientMode::Required);
    rules.expect_err("these are no rules")
}

#[test]
fn what_is_wrong_is_told_narrowly() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let ca = ours.pem();
    assert_eq!(refused("", None), ClientAuthError::EmptyCa);
    assert_eq!(refused("no PEM", None), ClientAuthError::EmptyCa);
    let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(refused(&format!("{ca}{odd}"), None), ClientAuthError::Ca { number: 2 });
    assert_eq!(refused(&ca, Some("")), ClientAuthError::EmptyCrl);
    assert_eq!(refused(&ca, Some(&ca)), ClientAuthError::EmptyCrl);
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    let of_another = refused(&ca, Some(&list(&theirs, tomorrow)));
    let ClientAuthError::CrlOfAnother { issuer } = &of_another else { panic!("{of_another}") };
    assert!(issuer.contains("CN=theirs"), "{issuer}");
    assert_eq!(of_another.part(), ClientPart::Crl);
    let odd = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    assert!(matches!(refused(&ca, Some(odd)), ClientAuthError::Crl { number: 1, .. }));
}

#[test]
fn other_files_are_other_rules() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let now = SystemTime::now();
    let crl = list(&ours, now - Duration::from_secs(60));
    let read = |ca: &str, crl: Option<&str>, mode| {
        ClientAuth::read(ca.as_bytes(), crl.map(str::as_bytes), mode).expect("these are rules")
    };
    let (ours, theirs) = (ours.pem(), theirs.pem());
    let plain = read(&ours, None, ClientMode::Required);
    assert_eq!(plain.id(), read(&ours, None, ClientMode::Required).id());
    let with_crl = read(&ours, Some(&crl), ClientMode::Required);
    for other in [
        &with_crl,
        &read(&ours, None, ClientMode::Optional),
        &read(&theirs, None, ClientMode::Required),
        &read(&format!("{ours}{theirs}"), None, ClientMode::Required),
    ] {
        assert_ne!(plain.id(), other.id());
    }
    assert_eq!(plain.stale_since(now), None);
    assert!(with_crl.stale_since(now).is_some());
    assert_eq!(with_crl.stale_since(now - Duration::from_secs(3600)), None);
}
