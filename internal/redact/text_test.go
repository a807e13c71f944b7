package redact_test

import (
	"testing"

	"pix/internal/redact"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"no URL": "no URL",
		"downloading 'https://me:secret@host/x' from https://host/a@b":        "downloading 'https://me:xxxxx@host/x' from https://host/a@b",
		`overrides=[substituters="https://me:sec@ret@host https://:b@c"]`:     `overrides=[substituters="https://me:xxxxx@host https://:xxxxx@c"]`,
		"https://host:80/me:x@y and ssh-ng://me@host":                         "https://host:80/me:x@y and ssh-ng://me@host",
		"two: https://a:one@host/ and http://b:two@host/, mail: someone@host": "two: https://a:xxxxx@host/ and http://b:xxxxx@host/, mail: someone@host",
	} {
		if got := redact.Text(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestIsSecret(t *testing.T) {
	for name, want := range map[string]bool{
		"access-tokens": true, "extra-access-tokens": true, "netrc-file": true, "--password": true, "impure-env": true, "substituters": false, "cores": false,
	} {
		if redact.IsSecret(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}
