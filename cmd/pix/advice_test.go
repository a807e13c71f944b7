package main

import "testing"

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
