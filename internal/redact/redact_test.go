package redact_test

import (
	"net/url"
	"strings"
	"testing"

	"pix/internal/redact"
)

func TestURL(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "",
		"nar/x@1.nar":                    "nar/x@1.nar",
		"https://host/a b%zz":            "https://host/a b%zz",
		"https://token@host/x?y=z":       "https://xxxxx@host/x?y=z",
		"git+https://token@host/x":       "git+https://xxxxx@host/x",
		"HTTP://token:@host/x":           "http://xxxxx@host/x",
		"https://me:secret@host/x?y=z":   "https://xxxxx@host/x?y=z",
		"https://me:sec@ret@host:1/x":    "https://xxxxx@host:1/x",
		"https://:secret@[::1]:80/":      "https://xxxxx@[::1]:80/",
		"https://host/x?token=secret&a=": "https://host/x?token=xxxxx&a=",
		"s3://b?secret-key=/key&a=b":     "s3://b?secret-key=/key&a=b",
		"ssh-ng://me@host":               "ssh-ng://me@host",
		"https://me:secret%zz@host":      "https://…",
		"https://me:secret@ho st":        "https://…",
		"https:me:secret@host":           "https://…",
		"ssh-ng://me:secret@host?a=b":    "ssh-ng://me:xxxxx@host?a=b",
		"/nix/store@home":                "/nix/store@home",
		"daemon":                         "daemon",
		"unix:///run/user@1000/x?root=/": "unix:///run/user@1000/x?root=/",
	} {
		if got := redact.URL(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestError(t *testing.T) {
	for text, want := range map[string]string{
		"https://me:secret%zz@host": "invalid URL escape",
		"https://host/%zz":          `invalid URL escape "%zz"`,
		"https://me:secret@ho st":   `invalid character " " in host name`,
	} {
		_, err := url.Parse(text)
		if err == nil || redact.Error(err).Error() != want || strings.Contains(redact.Error(err).Error(), "secret") {
			t.Errorf("%q: %v, want %q", text, redact.Error(err), want)
		}
	}
}
