package main

import "testing"

// The messages come from Nix 2.8.0, 2.26.3 and 2.34.8.
func TestOwnAdvice(t *testing.T) {
	for message, want := range map[string]string{
		"Cannot delete path '/nix/store/x' since it is still alive. To find out why, use: nix-store --query --roots": "Cannot delete path '/nix/store/x' since it is still alive. To find out why, use: pix roots",

		"To find out why, use: nix-store --query --roots and nix-store --query --referrers": "To find out why, use: pix roots and pix referrers",

		"failed;\nlast 1 log lines:\n> run nix log /x\nFor full logs, run 'nix log /nix/store/x.drv'.": "failed;\nlast 1 log lines:\n> run nix log /x\nFor full logs, run 'pix log /nix/store/x.drv'.",
		"failed;\n       For full logs, run:\n         nix log /nix/store/x.drv":                       "failed;\n       For full logs, run:\n         pix log /nix/store/x.drv",
		"failed;\nFor full logs, run:\n  nix-store -l /nix/store/x.drv":                                "failed;\nFor full logs, run:\n  pix log /nix/store/x.drv",
		"You should run `nix-store --verify --check-contents --repair` to fix them all":                "You should run `pix verify-store --check-contents --repair` to fix them all",
		"Path \"/tmp\" is world-writable or a symlink. That's not allowed for security.":               "Path \"/tmp\" is world-writable or a symlink. That's not allowed for security. Set build-dir in nix.conf to a directory that only root or this user can replace.",
		"nothing of this kind: nix log /nix/store/x.drv, nix-store --query --roots":                    "nothing of this kind: nix log /nix/store/x.drv, nix-store --query --roots",
	} {
		if got := ownAdvice(message); got != want {
			t.Errorf("ownAdvice(%q) =\n%q, want\n%q", message, got, want)
		}
	}
}
