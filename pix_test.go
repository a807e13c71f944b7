package pix_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"pix"
	"pix/daemon"
	"pix/internal/realnix"
	"pix/store"
)

// What cannot be opened is named, and so is why.
func TestOpenNothing(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none")
	for uri, want := range map[string]string{
		"local":                        "through its daemon alone",
		"nonsense":                     "no store URI",
		"s3://bucket":                  "the scheme s3:// is not supported",
		"unix://relative":              "not absolute",
		"unix:///a?root=/b":            "parameters are not supported",
		"unix:///%zz":                  "invalid URL escape",
		"ssh-ng://":                    "the host name is empty",
		"ssh-ng://-oProxyCommand=evil": "begins with '-'",
		"ssh-ng://host?what=ever":      "the parameter what is unknown",
	} {
		_, err := pix.Open(t.Context(), uri, &pix.Options{DaemonSocket: socket})
		var bad *pix.URIError
		if !errors.As(err, &bad) || bad.URI != uri || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", uri, err, want)
		}
	}
	for _, uri := range []string{"", "auto", "daemon", "unix://", "unix://" + socket} {
		_, err := pix.Open(t.Context(), uri, &pix.Options{DaemonSocket: socket})
		var dial *daemon.DialError
		if !errors.As(err, &dial) || dial.Addr != socket {
			t.Errorf("%q: %v, want a DialError", uri, err)
		}
	}
}

// What is opened is a pool, by each name of the same daemon.
func TestRealOpen(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		for _, uri := range []string{"", "daemon", "unix://" + d.Socket} {
			opened, err := pix.Open(t.Context(), uri, &pix.Options{DaemonSocket: d.Socket})
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := store.As[*daemon.Pool](opened); !ok {
				t.Errorf("%q: a %T", uri, opened)
			}
			path, err := store.AddText(t.Context(), opened, "hello.txt", "hello world", nil)
			if err != nil || path != "/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt" {
				t.Errorf("%q: %s, %v", uri, path, err)
			}
			if err := opened.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func ExampleOpen() {
	_, err := pix.Open(context.Background(), "unix:///nowhere/socket", nil)
	fmt.Println(err)
	// Output: connecting to the Nix daemon at '/nowhere/socket': connect: no such file or directory
}
