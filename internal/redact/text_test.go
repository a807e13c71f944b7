package redact_test

import (
	"testing"

	"pix/internal/redact"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"no URL": "no URL",
		"downloading 'https://me:secret@host/x' from https://host/a@b":        "downloading 'https://xxxxx@host/x' from https://host/a@b",
		`overrides=[substituters="https://me:sec@ret@host https://:b@c"]`:     `overrides=[substituters="https://xxxxx@host https://xxxxx@c"]`,
		"https://host:80/me:x@y and ssh-ng://me@host":                         "https://host:80/me:x@y and ssh-ng://me@host",
		"https://token:x-oauth-basic@host https://token@host?a=b@c":           "https://xxxxx@host https://xxxxx@host?a=b@c",
		"https://me:sec?ret@host s3://key:secret@bucket https://host?a=b@c":   "https://me:xxxxx@host s3://key:xxxxx@bucket https://host?a=b@c",
		"'https://host/x?a=b&X-Amz-Signature=01&access_token=2' ?token=3":     "'https://host/x?a=b&X-Amz-Signature=xxxxx&access_token=xxxxx' ?token=xxxxx",
		"machine host login me password secret\ndefault password another":     "machine host login me password xxxxx\ndefault password xxxxx",
		`text="machine host\n\tlogin me\n\tpassword secret\n" x`:              `text="machine host\n\tlogin me\n\tpassword xxxxx\n" x`,
		"a password is missing, the machine has a login and password":         "a password is missing, the machine has a login and password",
		"two: https://a:one@host/ and http://b:two@host/, mail: someone@host": "two: https://xxxxx@host/ and http://xxxxx@host/, mail: someone@host",
	} {
		if got := redact.Text(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestIsSecret(t *testing.T) {
	for name, want := range map[string]bool{
		"access-tokens": true, "extra-access-tokens": true, "netrc-file": true, "--password": true, "impure-env": true, "SSH_PRIVATE_KEY": true, "substituters": false, "cores": false,
	} {
		if redact.IsSecret(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}
