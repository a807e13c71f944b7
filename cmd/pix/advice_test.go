package main

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A refused request has advice: which login or certificate is missing.
func TestRequestAdvice(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no", http.StatusUnauthorized)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	authority := filepath.Join(t.TempDir(), "authority.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(authority, block, 0o600); err != nil {
		t.Fatal(err)
	}
	const trusting, other = "put a valid login for this host into the netrc file", "name a file with its certificate in NIX_SSL_CERT_FILE"
	for _, want := range []string{trusting, other} {
		var stderr strings.Builder
		args := []string{"--store", server.URL, "is-valid", "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo"}
		if want == trusting {
			args = append(args, "--option", "ssl-cert-file", authority)
		}
		code := run(args, strings.NewReader(""), io.Discard, &stderr, func(string) string { return "" })
		if code != exitUnknown || !strings.Contains(stderr.String(), want) {
			t.Errorf("exit code %d: %s, want %q", code, stderr.String(), want)
		}
	}
}

// The messages with advice come from Nix 2.8.0, 2.26.3 and 2.34.8, and those about nix-daemon from pix, ssh and a shell.
func TestOwnAdvice(t *testing.T) {
	for message, want := range map[string]string{
		"Cannot delete path '/nix/store/x' since it is still alive. To find out why, use: nix-store --query --roots": "Cannot delete path '/nix/store/x' since it is still alive. To find out why, use: pix roots",

		"To find out why, use: nix-store --query --roots and nix-store --query --referrers": "To find out why, use: pix roots and pix referrers",

		"failed;\nlast 1 log lines:\n> run nix log /x\nFor full logs, run 'nix log /nix/store/x.drv'.":                   "failed;\nlast 1 log lines:\n> run nix log /x\nFor full logs, run 'pix log /nix/store/x.drv'.",
		"failed;\n       For full logs, run:\n         nix log /nix/store/x.drv":                                         "failed;\n       For full logs, run:\n         pix log /nix/store/x.drv",
		"failed;\nFor full logs, run:\n  nix-store -l /nix/store/x.drv":                                                  "failed;\nFor full logs, run:\n  pix log /nix/store/x.drv",
		"You should run `nix-store --verify --check-contents --repair` to fix them all":                                  "You should run `pix verify-store --check-contents --repair` to fix them all",
		"Path \"/tmp\" is world-writable or a symlink. That's not allowed for security.":                                 "Path \"/tmp\" is world-writable or a symlink. That's not allowed for security. Set build-dir in nix.conf to a directory that only root or this user can replace.",
		"connecting to the Nix daemon at 'ssh-ng://h': ssh printed: bash: line 1: nix-daemon: command not found":         "connecting to the Nix daemon at 'ssh-ng://h': ssh printed: bash: line 1: nix-daemon: command not found" + daemonAdvice,
		"connecting to the Nix daemon at 'ssh-ng://localhost': exec: \"nix-daemon\": executable file not found in $PATH": "connecting to the Nix daemon at 'ssh-ng://localhost': the program 'nix-daemon' is not in PATH" + daemonAdvice,
		"> nix-daemon: command not found": "> nix-daemon: command not found",

		"nothing of this kind: nix log /nix/store/x.drv, nix-store --query --roots": "nothing of this kind: nix log /nix/store/x.drv, nix-store --query --roots",
	} {
		if got := ownAdvice(message); got != want {
			t.Errorf("ownAdvice(%q) =\n%q, want\n%q", message, got, want)
		}
	}
}
